//! The distribution flags, by which two nodes agree on features (`dist.hrl` in OTP's `kernel`; "Distribution Flags" in the ERTS
//! User's Guide).

use std::fmt;

/// The flags of one node, as a 64-bit word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u64);

impl Flags {
    const UNLINK_ID: u64 = 1 << 25;
    const V4_NC: u64 = 1 << 34;

    /// Asks the peer to choose the name of this end.
    pub const NAME_ME: Self = Self(1 << 33);

    /// The flags that OTP 25 demands, one by one.
    const MANDATORY_25: u64 =
        1 << 2 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 24;

    /// The single flag that implies all of [`Self::MANDATORY_25`] since OTP 25.
    const MANDATORY_25_DIGEST: u64 = 1 << 26;

    /// The flags that every OTP since 25 demands, and no others. Without `PUBLISHED` this end is a hidden node.
    pub const OURS: Self = Self(Self::MANDATORY_25 | Self::MANDATORY_25_DIGEST | Self::UNLINK_ID | Self::V4_NC);

    /// Returns the flags that are set in either.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the names of the set flags: `SPAWN` for `DFLAG_SPAWN`, and `bit 60` for an unknown flag.
    pub fn names(self) -> Vec<String> {
        let set = (0..64).filter(|bit| self.0 >> bit & 1 == 1);
        set.map(|bit| name(bit).map_or_else(|| format!("bit {bit}"), str::to_owned))
            .collect()
    }
}

/// For a person: mandatory flags are left out.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = Self(self.0 & !(Self::MANDATORY_25 | Self::MANDATORY_25_DIGEST)).names();
        let rest = rest.join(", ");
        let has_all = self.0 & Self::MANDATORY_25_DIGEST != 0 || self.0 & Self::MANDATORY_25 == Self::MANDATORY_25;
        if !has_all {
            write!(f, "some that OTP 25 demands are missing, {}", self.names().join(", "))
        } else if rest.is_empty() {
            f.write_str("those that OTP 25 demands")
        } else {
            write!(f, "those that OTP 25 demands, {rest}")
        }
    }
}

fn name(bit: u32) -> Option<&'static str> {
    Some(match bit {
        0 => "PUBLISHED",
        1 => "ATOM_CACHE",
        2 => "EXTENDED_REFERENCES",
        3 => "DIST_MONITOR",
        4 => "FUN_TAGS",
        5 => "DIST_MONITOR_NAME",
        6 => "HIDDEN_ATOM_CACHE",
        7 => "NEW_FUN_TAGS",
        8 => "EXTENDED_PIDS_PORTS",
        9 => "EXPORT_PTR_TAG",
        10 => "BIT_BINARIES",
        11 => "NEW_FLOATS",
        12 => "UNICODE_IO",
        13 => "DIST_HDR_ATOM_CACHE",
        14 => "SMALL_ATOM_TAGS",
        16 => "UTF8_ATOMS",
        17 => "MAP_TAG",
        18 => "BIG_CREATION",
        19 => "SEND_SENDER",
        20 => "BIG_SEQTRACE_LABELS",
        22 => "EXIT_PAYLOAD",
        23 => "FRAGMENTS",
        24 => "HANDSHAKE_23",
        25 => "UNLINK_ID",
        26 => "MANDATORY_25_DIGEST",
        32 => "SPAWN",
        33 => "NAME_ME",
        34 => "V4_NC",
        35 => "ALIAS",
        37 => "ALTACT_SIG",
        38 => "NATIVE_RECORDS",
        _ => return None,
    })
}
