use proptest::prelude::*;

use super::{Endpoint, append_query, validate_base_url, validate_max_buffering};
use crate::error::ErrorKind;

#[test]
fn app_ids_and_paths() {
    // app, path, app_path, alias
    let cases = [
        ("123-myapp", Some("/custom/path"), "123/myapp/custom/path", "myapp"),
        ("123-myapp", None, "123/myapp/realtime", "myapp"),
        ("123-my-app-2", None, "123/my-app-2/realtime", "my-app-2"),
        ("456/otherapp", None, "456/otherapp/realtime", "otherapp"),
        ("123-456/app", None, "123-456/app/realtime", "app"),
        ("fal-ai/fast-lcm-diffusion", None, "fal-ai/fast-lcm-diffusion/realtime", "fast-lcm-diffusion"),
        ("fal-ai/flux-2/klein/realtime", None, "fal-ai/flux-2/klein/realtime", "flux-2"),
        ("fal-ai/flux-2/klein", None, "fal-ai/flux-2/klein/realtime", "flux-2"),
        ("owner/app/realtime", Some("/realtime"), "owner/app/realtime/realtime", "app"),
        ("owner/app/realtime", Some(""), "owner/app/realtime", "app"),
        ("owner/app/my-realtime", None, "owner/app/my-realtime/realtime", "app"),
        ("owner/app", Some(""), "owner/app/realtime", "app"),
        ("owner/app", Some("stream"), "owner/app/stream", "app"),
        ("owner/app", Some("///stream"), "owner/app/stream", "app"),
        ("owner/app", Some("/"), "owner/app/", "app"),
        ("workflows/owner/flow", None, "workflows/owner/flow/realtime", "flow"),
        ("workflows/owner/flow/a/b", None, "workflows/owner/flow/a/b/realtime", "flow"),
        ("comfy/owner/graph", Some("/x"), "comfy/owner/graph/x", "graph"),
        ("A.b_c/..d", None, "A.b_c/..d/realtime", "..d"),
    ];
    for (app, path, app_path, alias) in cases {
        let endpoint = Endpoint::parse(app, path).unwrap();
        assert_eq!((endpoint.app_path().as_str(), endpoint.alias()), (app_path, alias), "{app} {path:?}");
    }
}

#[test]
fn nothing_is_added_to_the_id_of_a_plain_websocket() {
    let cases = [
        ("123-myapp", None, "123/myapp", "myapp"),
        ("owner/app", Some(""), "owner/app", "app"),
        ("owner/app/ws", None, "owner/app/ws", "app"),
        ("owner/app", Some("/ws"), "owner/app/ws", "app"),
        ("owner/app/realtime", None, "owner/app/realtime", "app"),
    ];
    for (app, path, app_path, alias) in cases {
        let endpoint = Endpoint::parse_raw(app, path).unwrap();
        assert_eq!((endpoint.app_path().as_str(), endpoint.alias()), (app_path, alias), "{app} {path:?}");
    }
}

#[test]
fn what_follows_a_character_that_no_app_id_has_is_not_repeated() {
    for app in [
        "kid:secret",
        "owner/app?fal_jwt_token=secret",
        "https://user:secret@fal.run/owner/app",
        "owner/app&token=secret",
        "owner/app secret",
        "owner/app;secret",
        "owner/app\nsecret",
    ] {
        let error = Endpoint::parse(app, None).unwrap_err();
        assert!(!error.message.contains("secret"), "{error}");
    }
}

#[test]
fn bad_app_ids_and_paths_say_what_is_wrong() {
    let cases = [
        ("", None, "no slash"),
        ("myapp", None, "no slash"),
        ("owner-app", None, "no slash"),
        ("123-", None, "no slash"),
        ("123-a_b", None, "no slash"),
        ("/owner/app", None, "empty segment"),
        ("owner/app/", None, "empty segment"),
        ("owner//app", None, "empty segment"),
        ("owner/..", None, "\"..\" is not allowed"),
        ("./app", None, "\".\" is not allowed"),
        ("owner/a pp", None, "' '"),
        ("owner/app?x=1", None, "'?'"),
        ("owner/app#x", None, "'#'"),
        ("owner/app%2e", None, "'%'"),
        ("owner/äpp", None, "'ä'"),
        ("owner/app\r\nHost: x", None, "'\\r'"),
        ("workflows/owner", None, "owner and alias"),
        ("comfy/owner", Some("/alias"), "owner and alias"),
        ("owner/app", Some("/a/../b"), "\"..\" is not allowed"),
        ("owner/app", Some("/a//b"), "empty segment"),
        ("owner/app", Some("/a/"), "empty segment"),
        ("owner/app", Some("/a?fal_jwt_token=x"), "'?'"),
    ];
    for (app, path, why) in cases {
        let error = Endpoint::parse(app, path).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption);
        assert!(error.message.contains(why) && error.message.contains("accepted are"), "{}", error.message);
    }
}

#[test]
fn messages_repeat_no_secret_and_are_short() {
    let error = Endpoint::parse("owner/app/realtime?fal_jwt_token=hush", None).unwrap_err();
    assert!(
        error.message.contains("owner/app/realtime") && !error.message.contains("hush"),
        "{}",
        error.message
    );
    let error = Endpoint::parse("owner/app", Some("/realtime?fal_jwt_token=hush")).unwrap_err();
    assert!(!error.message.contains("hush"), "{}", error.message);
    for url in
        ["wss://user:hush@fal.run", "wss://fal.run?token=hush", "hush://fal.run", "wss://fal.run/a hush"]
    {
        let error = validate_base_url(url, &["wss"]).unwrap_err();
        assert!(!error.message.contains("hush"), "{}", error.message);
    }
    let error = Endpoint::parse(&"x".repeat(100_000), None).unwrap_err();
    assert!(error.message.len() < 400);
}

#[test]
fn addresses() {
    let endpoint = Endpoint::parse("123-myapp", None).unwrap();
    let url = |token, max_buffering| endpoint.url("wss://fal.run", token, max_buffering);
    assert_eq!(url(None, None), "wss://fal.run/123/myapp/realtime");
    assert_eq!(url(Some("a.b-c_d~"), None), "wss://fal.run/123/myapp/realtime?fal_jwt_token=a.b-c_d~");
    assert_eq!(
        url(Some("a&b=c d+%/é"), Some(5)),
        concat!(
            "wss://fal.run/123/myapp/realtime",
            "?fal_jwt_token=a%26b%3Dc%20d%2B%25%2F%C3%A9&max_buffering=5"
        )
    );
    assert_eq!(url(None, Some(60)), "wss://fal.run/123/myapp/realtime?max_buffering=60");
}

#[test]
fn max_buffering_is_from_1_to_60() {
    for good in [1, 2, 60] {
        assert_eq!(validate_max_buffering(good).map(i64::from).unwrap(), good);
    }
    for bad in [0, -1, 61, 256 + 1, i64::MAX, i64::MIN] {
        let error = validate_max_buffering(bad).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption);
        assert_eq!(error.message, format!("max_buffering must be an integer from 1 to 60, got {bad}"));
    }
}

#[test]
fn base_urls() {
    let schemes = ["wss", "ws"];
    let good = [
        ("wss://fal.run", "wss://fal.run"),
        ("wss://fal.run/", "wss://fal.run"),
        ("WSS://fal.run//", "wss://fal.run"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("ws://[::1]:8080/", "ws://[::1]:8080"),
        ("ws://[::1]", "ws://[::1]"),
        ("wss://gateway.example/fal/ws/", "wss://gateway.example/fal/ws"),
    ];
    for (url, expected) in good {
        assert_eq!(validate_base_url(url, &schemes).unwrap(), expected);
    }
    let bad = [
        ("", "no scheme"),
        ("fal.run", "no scheme"),
        ("https://fal.run", "another scheme"),
        ("wss://", "host"),
        ("wss:///path", "host"),
        ("wss://:80", "host"),
        ("wss://fal run", "host"),
        ("wss://fal.run:port", "port"),
        ("wss://fal.run:", "port"),
        ("wss://fal.run:0", "port"),
        ("wss://fal.run:65536", "port"),
        ("wss://user@fal.run", "user name"),
        ("wss://user:pass@fal.run", "user name"),
        ("wss://fal.run?x=1", "query"),
        ("wss://fal.run/#top", "fragment"),
        ("wss://fal.run/a/../b", "path"),
        ("wss://fal.run/a b", "path"),
        ("wss://fal.run\r\n", "host"),
    ];
    for (url, why) in bad {
        let error = validate_base_url(url, &schemes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption);
        assert!(error.message.contains(why), "{url}: {}", error.message);
        assert!(error.message.contains("wss://host[:port][/path] or ws://"), "{}", error.message);
    }
}

proptest! {
    /// Whatever is accepted makes an address in which app id, path and token stay where they belong.
    #[test]
    fn accepted_input_makes_a_valid_address(
        app in prop_oneof!["[a-z0-9./-]{1,20}", "\\PC{0,20}"],
        path in prop::option::of(prop_oneof!["[a-z0-9./]{0,20}", "\\PC{0,20}"]),
        token in "\\PC{0,20}",
    ) {
        if let Ok(endpoint) = Endpoint::parse(&app, path.as_deref()) {
            let uri: http::Uri = endpoint.url("wss://fal.run", Some(&token), Some(1)).parse().unwrap();
            prop_assert_eq!(uri.host(), Some("fal.run"));
            let app_path = endpoint.app_path();
            prop_assert_eq!(uri.path(), format!("/{app_path}"));
            prop_assert!(app_path.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert!(!endpoint.alias().is_empty());
            let query = uri.query().unwrap();
            prop_assert!(query.starts_with("fal_jwt_token=") && query.ends_with("&max_buffering=1"));
            prop_assert_eq!(query.matches('&').count(), 1);
        }
    }

    #[test]
    fn base_urls_never_panic(url in "\\PC{0,40}", tail in "[a-z0-9:/@.\\[\\]]{0,20}") {
        let _ = validate_base_url(&url, &["wss"]);
        if let Ok(base) = validate_base_url(&format!("wss://{tail}"), &["wss"]) {
            let uri = format!("{base}/owner/app").parse::<http::Uri>();
            prop_assert!(uri.is_ok(), "{}", base);
        }
    }
}

#[test]
fn parameters_of_the_callers_own_are_encoded_behind_what_is_there() {
    let own = [("region".to_owned(), "eu west&x=1".to_owned()), ("a b".to_owned(), String::new())];
    for (before, separator) in [("wss://fal.run/a/b", '?'), ("wss://fal.run/a/b?max_buffering=3", '&')] {
        let mut url = before.to_owned();
        append_query(&mut url, &own);
        assert_eq!(url, format!("{before}{separator}region=eu%20west%26x%3D1&a%20b="));
    }
}
