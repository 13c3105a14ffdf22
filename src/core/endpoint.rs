//! App id and path -> address; validation of what goes into it.
//!
//! ```
//! use fal_realtime::core::endpoint::Endpoint;
//!
//! let endpoint = Endpoint::parse("fal-ai/fast-lcm-diffusion", None)?;
//! assert_eq!(endpoint.app_path(), "fal-ai/fast-lcm-diffusion/realtime");
//! assert_eq!(endpoint.alias(), "fast-lcm-diffusion");
//! let url = endpoint.url("wss://fal.run", None, Some(4));
//! assert_eq!(url, "wss://fal.run/fal-ai/fast-lcm-diffusion/realtime?max_buffering=4");
//! assert!(Endpoint::parse("owner/../elsewhere", None).is_err());
//! # Ok::<(), fal_realtime::error::Error>(())
//! ```

use std::fmt::Write as _;

use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;

/// The path at which realtime apps serve their socket unless another is given.
pub(crate) const DEFAULT_PATH: &str = "/realtime";
/// The parameter in which a session's token is sent.
pub(crate) const TOKEN_PARAMETER: &str = "fal_jwt_token";
/// First segments after which an owner and an alias follow.
const NAMESPACES: [&str; 2] = ["workflows", "comfy"];
/// The range that the server accepts as `max_buffering`.
pub(crate) const MAX_BUFFERING: std::ops::RangeInclusive<u8> = 1..=60;

/// The validated address of a realtime app, without host, token and options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `owner/alias…/path`, no leading slash.
    app_path: String,
    /// Which segment of it is the alias.
    alias_index: usize,
}

impl Endpoint {
    /// Parses an app id (`owner/alias`, `owner/alias/path`, `workflows/owner/alias`, `comfy/owner/alias` or
    /// the legacy `123-alias`) and an optional path.
    ///
    /// The path defaults to `/realtime`, which is left out if the app id ends in it. A given path always
    /// wins; an empty one counts as not given, `/` is the app's root.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] if the id has another form, or a segment other characters than
    /// `A-Za-z0-9._-`, or is `.` or `..`: such a segment would lead the request, and with it the credentials,
    /// elsewhere.
    pub fn parse(app: &str, path: Option<&str>) -> Result<Self> {
        Self::with_default(app, path, Some(DEFAULT_PATH))
    }

    /// The same for an app that is a plain WebSocket, which is wherever it likes: no path is added to its id.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub fn parse_raw(app: &str, path: Option<&str>) -> Result<Self> {
        Self::with_default(app, path, None)
    }

    fn with_default(app: &str, path: Option<&str>, default: Option<&str>) -> Result<Self> {
        if app.contains("://") {
            return Err(bad_app(app, "it is an address, of which the app id is what follows the host"));
        }
        let mut app_path = if app.contains('/') { app.to_owned() } else { from_legacy(app)? };
        for segment in app_path.split('/') {
            check_segment(segment).map_err(|why| bad_app(app, &why))?;
        }
        let alias_index = alias_index(&app_path);
        if app_path.split('/').nth(alias_index).is_none() {
            let why = format!("the namespace {:?} is followed by owner and alias", first_segment(&app_path));
            return Err(bad_app(app, &why));
        }
        match (path.filter(|path| !path.is_empty()), default) {
            (Some(path), _) => {
                let path = path.trim_start_matches('/');
                if !path.is_empty() {
                    for segment in path.split('/') {
                        check_segment(segment).map_err(|why| bad_path(&why))?;
                    }
                }
                app_path.push('/');
                app_path.push_str(path);
            }
            (None, Some(default)) if !app_path.ends_with(default) => app_path.push_str(default),
            (None, _) => {}
        }
        Ok(Self { app_path, alias_index })
    }

    /// App id with path, for example `123/myapp/realtime`: what a token provider is given.
    pub fn app_path(&self) -> String {
        self.app_path.clone()
    }

    /// The app's name without owner and path, for example `myapp`: what a token is minted for.
    pub fn alias(&self) -> &str {
        self.app_path.split('/').nth(self.alias_index).unwrap_or_default()
    }

    /// The address to dial. `base` comes from [`validate_base_url`]. **Holds the token**: never log it.
    pub fn url(&self, base: &str, token: Option<&str>, max_buffering: Option<u8>) -> String {
        let mut url = format!("{base}/{}", self.app_path);
        let mut separator = '?';
        if let Some(token) = token {
            url.push('?');
            url.push_str(TOKEN_PARAMETER);
            url.push('=');
            percent_encode(token, &mut url);
            separator = '&';
        }
        if let Some(max_buffering) = max_buffering {
            // Writing to a String can't fail.
            let _ = write!(url, "{separator}max_buffering={max_buffering}");
        }
        url
    }
}

/// Appends parameters of the caller's own to an address.
pub fn append_query(url: &mut String, parameters: &[(String, String)]) {
    for (name, value) in parameters {
        url.push(if url.contains('?') { '&' } else { '?' });
        percent_encode(name, url);
        url.push('=');
        percent_encode(value, url);
    }
}

/// Brings `max_buffering` into its type.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] unless it is from 1 to 60.
pub fn validate_max_buffering(value: i64) -> Result<u8> {
    u8::try_from(value).ok().filter(|value| MAX_BUFFERING.contains(value)).ok_or_else(|| {
        let (min, max) = MAX_BUFFERING.into_inner();
        invalid(format!("max_buffering must be an integer from {min} to {max}, got {value}"))
    })
}

/// Checks an address that paths are appended to, and strips its trailing slashes. `schemes` are those
/// accepted, in lower case.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] if it is no absolute URL of one of these schemes, or has a user name, a query
/// or a fragment. The message never repeats the URL, in which a secret may be.
pub fn validate_base_url(url: &str, schemes: &[&str]) -> Result<String> {
    let bad = |why: &str| {
        let accepted =
            schemes.iter().map(|scheme| format!("{scheme}://host[:port][/path]")).collect::<Vec<_>>();
        invalid(format!("the base URL {why}; accepted is {}", accepted.join(" or ")))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    if !schemes.contains(&scheme.as_str()) {
        return Err(bad("has another scheme"));
    }
    if rest.contains('?') {
        return Err(bad("has a query"));
    }
    if rest.contains('#') {
        return Err(bad("has a fragment"));
    }
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(bad("has a user name or password"));
    }
    let parsed: http::uri::Authority = authority.parse().map_err(|_| bad("has no valid host"))?;
    if parsed.host().is_empty() {
        return Err(bad("has no host"));
    }
    if parsed.as_str().len() > parsed.host().len() && parsed.port_u16().is_none_or(|port| port == 0) {
        return Err(bad("has no valid port"));
    }
    for segment in path.split('/').skip(1) {
        check_segment(segment).map_err(|why| bad(&format!("has a bad path: {why}")))?;
    }
    Ok(format!("{scheme}://{rest}"))
}

/// `123-my-app` -> `123/my-app`, as of times when an app id was a user's number and a name.
fn from_legacy(app: &str) -> Result<String> {
    let is_owner = |owner: &str| !owner.is_empty() && owner.bytes().all(|b| b.is_ascii_digit());
    let is_alias =
        |alias: &str| !alias.is_empty() && alias.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match app.split_once('-') {
        Some((owner, alias)) if is_owner(owner) && is_alias(alias) => Ok(format!("{owner}/{alias}")),
        _ => Err(bad_app(app, "it has no slash")),
    }
}

/// Which segment of a path names the app, behind its owner. It has no leading slash.
pub(crate) fn alias_index(app_path: &str) -> usize {
    if NAMESPACES.contains(&first_segment(app_path)) { 2 } else { 1 }
}

fn first_segment(app_path: &str) -> &str {
    app_path.split('/').next().unwrap_or_default()
}

fn check_segment(segment: &str) -> Result<(), String> {
    if segment.is_empty() {
        return Err("it has an empty segment".to_owned());
    }
    if segment == "." || segment == ".." {
        return Err(format!("the segment {segment:?} is not allowed"));
    }
    match segment.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
        Some(other) => Err(format!("it has the character {other:?}; a segment is made of A-Z a-z 0-9 . _ -")),
        None => Ok(()),
    }
}

pub(crate) fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        // The unreserved characters of RFC 3986, section 2.3; a JWT has no others.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

/// Quotes the id up to anything that no id has, behind which a key or a pasted address has its secret.
fn bad_app(app: &str, why: &str) -> Error {
    const MAX_SHOWN_CHARACTERS: usize = 80;
    let shown: String = app
        .chars()
        .take_while(|c| c.is_alphanumeric() || "._-/".contains(*c))
        .take(MAX_SHOWN_CHARACTERS)
        .collect();
    let more = if shown.len() < app.len() { "…" } else { "" };
    invalid(format!(
        "invalid app id \"{}{more}\": {why}; accepted are owner/alias, owner/alias/path, \
         workflows/owner/alias, comfy/owner/alias and the legacy 123-alias",
        shown.escape_debug()
    ))
}

fn bad_path(why: &str) -> Error {
    invalid(format!(
        "invalid path: {why}; accepted are segments separated by single slashes, for example /realtime"
    ))
}
