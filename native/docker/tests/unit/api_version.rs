use super::*;

#[test]
fn negotiation() {
    let prefix = |header| ApiVersion::negotiate(header).to_string();
    assert_eq!(prefix(Some("1.41")), "/v1.41");
    assert_eq!(prefix(Some("1.9")), "/v1.9");
    assert_eq!(prefix(Some("1.52")), "/v1.52");
    assert_eq!(prefix(Some("1.53")), "/v1.52");
    assert_eq!(prefix(Some("2.0")), "/v1.52");
    for useless in [
        "",
        "1",
        "1.",
        ".41",
        "1.41.1",
        "v1.41",
        "1.+41",
        "1.4x",
        "1.41/..",
        "1.99999999",
        " 1.41",
    ] {
        assert_eq!(prefix(Some(useless)), "", "{useless}");
    }
    assert_eq!(prefix(None), "");
}
