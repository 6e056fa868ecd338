//! Which models a server has.

use super::super::discover::discover;
use super::server::{Server, json};
use super::*;

async fn found(answer: String) -> Result<Vec<String>, String> {
    let server = Server::answering(answer).await;
    let base = format!("http://{}/v1/", server.address);
    discover(&base, None, Duration::from_secs(1)).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn models_are_listed_in_the_server_s_order() {
    let llama_cpp = r#"{"models":[{"name":"x"}],"object":"list","data":[{"id":"b","object":"model"},{"id":"a"}]}"#;
    assert_eq!(found(json("200 OK", llama_cpp)).await, Ok(vec!["b".to_owned(), "a".to_owned()]));
}

#[tokio::test]
async fn what_is_no_list_is_told() {
    assert_eq!(found(json("401 Unauthorized", "{}")).await, Err("status 401".to_owned()));
    let message = "the answer is not a list of models: missing field `data` at line 1 column 2";
    assert_eq!(found(json("200 OK", "{}")).await, Err(message.to_owned()));
    let error = discover("nowhere", None, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "`nowhere` is not an http or https URL");
    let silent = Server::start(|mut peer| async move { peer.wait_for_close().await }).await;
    let base = format!("http://{}", silent.address);
    let error = discover(&base, None, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "no list of models within 50ms");
}
