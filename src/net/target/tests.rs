use super::*;

fn fields(url: &str) -> (bool, String, u16, String, String) {
    let target = Target::parse(url).unwrap();
    (target.tls, target.host, target.port, target.authority, target.path_and_query)
}

fn of(tls: bool, host: &str, port: u16, authority: &str, path: &str) -> (bool, String, u16, String, String) {
    (tls, host.into(), port, authority.into(), path.into())
}

#[test]
fn addresses_are_parsed() {
    assert_eq!(fields("wss://fal.run/a/b?c=d"), of(true, "fal.run", 443, "fal.run", "/a/b?c=d"));
    assert_eq!(fields("https://fal.run:8443"), of(true, "fal.run", 8443, "fal.run:8443", "/"));
    assert_eq!(fields("ws://127.0.0.1:80/x"), of(false, "127.0.0.1", 80, "127.0.0.1", "/x"));
    assert_eq!(fields("http://[::1]:81?q"), of(false, "::1", 81, "[::1]:81", "/?q"));
    assert_eq!(fields("ws://[::1]/"), of(false, "::1", 80, "[::1]", "/"));
}

#[test]
fn bad_addresses_are_bad_options() {
    for bad in [
        "",
        "fal.run",
        "/path",
        "ftp://fal.run/",
        "wss://",
        "wss:///x",
        "wss://me:pw@fal.run/",
        "wss://h:/",
        "wss://h:99999/",
        "wss://h/a b",
        "wss://h/\r\nX: y",
        "wss://[::1/",
    ] {
        let error = Target::parse(bad).map(|target| format!("{target:?}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption, "{bad}");
        assert!(!error.message.contains("pw"), "{error}");
    }
}

#[test]
fn the_query_is_not_shown() {
    let target = Target::parse("wss://fal.run/app?fal_jwt_token=secret").unwrap();
    assert_eq!(format!("{target:?}"), "tls://fal.run/app");
}
