use super::*;

fn message(status: u16, body: &[u8]) -> String {
    match Error::refused(StatusCode::from_u16(status).unwrap(), body) {
        Error::Refused { status: s, message } if s == status => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_message_of_a_refusal() {
    assert_eq!(message(500, br#"{"message":"no space left"}"#), "no space left");
    assert_eq!(message(403, b"<h1>Forbidden</h1>\r\n"), "<h1>Forbidden</h1>");
    assert_eq!(message(500, b"a\x1b[31mb\nc"), "a\u{fffd}[31mb c");
    assert_eq!(
        message(500, b"{\"message\":\"a\\u0000b\\u202ec\"}"),
        "a\u{fffd}b\u{fffd}c"
    );
    assert_eq!(message(502, b""), "Bad Gateway");
    assert_eq!(message(503, b"{\"message\":\" \\n \"}"), "Service Unavailable");
    assert_eq!(message(599, b""), "no reason given");
    assert_eq!(message(500, &[0xff, 0xfe]), "\u{fffd}\u{fffd}");
    assert_eq!(message(500, "é".repeat(5000).as_bytes()), "é".repeat(200));
}
