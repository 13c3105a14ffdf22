use tokio::net::TcpListener;

use super::*;
use crate::{error::ErrorKind, net::testing::direct};

#[tokio::test]
async fn a_refused_connection_is_transient_and_names_the_place() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("ws://{closed}/?fal_jwt_token=secret")).unwrap();
    let error = connect(&target, &direct()).await.unwrap_err();
    assert!(error.transient);
    assert_eq!(error.kind, ErrorKind::Handshake { status: None });
    assert!(error.message.contains(&format!("127.0.0.1 port {}", closed.port())), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}
