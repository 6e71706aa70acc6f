# eid: Erlang in Docker. `make` builds, `make demo` shows, `make test` checks everything, `make install` puts it into an Erlang.

.PHONY: all packages demo test bench soak fuzz docs install uninstall dist clean

# For install and uninstall. The application goes into the library folder of the Erlang in PREFIX, or else of the one on the PATH;
# ERLANG_LIB names another one's. DESTDIR is for those who make packages.
DESTDIR =
PREFIX = /usr/local
ERLANG_LIB =

all: packages
	rebar3 compile

# The Debian packages that building and testing need.
packages:
	test/rig/packages.sh

demo: all
	test/rig/demo.sh

test: all
	test/run.sh

# Measures, writes bench/RESULTS.md, and fails if a bound does not hold.
bench: all
	bench/run.sh

# What takes longer than make test may: the kills and connects of the rig's suites, many more of them, and ten minutes of load on
# `eid forward` and `eid serve` while everything around them is killed at random.
soak: all
	EID_SOAK=10 EID_SOAK_SECONDS=600 test/run.sh soak

# Whatever an engine may send, for FUZZ_SECONDS a target: see native/fuzz.
fuzz:
	native/fuzz/run.sh

# The guide, the reference, the modules and the crates, as a web site in _build/site. A warning is an error.
docs: packages
	doc/make.sh

# What is built already: whoever installs may be root, and have no compilers.
install uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' ERLANG_LIB='$(ERLANG_LIB)' native/install.sh $@

# A tarball of what install puts below the prefix, for the ADD of a Dockerfile.
dist:
	@native/install.sh dist

clean:
	rm -rf _build target priv/eid_nif.so priv/eid priv/man priv/completions
