//! Which models a server has.

use super::server::{Server, json};
use super::*;

async fn found(answer: String) -> Result<Vec<String>, String> {
    let server = Server::answering(answer).await;
    listed(&provider(server.address)).await
}

/// The names that a provider lists.
async fn listed(configured: &Configured) -> Result<Vec<String>, String> {
    let models = models_of(configured, Duration::from_millis(500)).await.map_err(|error| error.to_string())?;
    Ok(models.into_iter().map(|model| model.id).collect())
}

#[tokio::test]
async fn models_are_listed_in_the_server_s_order() {
    let llama_cpp = r#"{"models":[{"name":"x"}],"object":"list","data":[{"id":"b","object":"model"},{"id":"a"}]}"#;
    assert_eq!(found(json("200 OK", llama_cpp)).await, Ok(vec!["b".to_owned(), "a".to_owned()]));
    let together = r#" [{"id":"b","object":"model","context_length":131072},{"id":"a"}]"#;
    assert_eq!(found(json("200 OK", together)).await, Ok(vec!["b".to_owned(), "a".to_owned()]));
}

#[tokio::test]
async fn a_configured_provider_is_asked_with_its_key() {
    let server = Server::start(|mut peer| async move {
        let request = peer.request().await.unwrap();
        assert!(request.starts_with("GET /v1/models HTTP/1.1\r\n"), "{request}");
        let answer = if request.contains("\r\nauthorization: Bearer sk-ours\r\n") { r#"{"data":[]}"# } else { "{}" };
        peer.send(&json("200 OK", answer)).await;
    })
    .await;
    assert_eq!(listed(&provider(server.address)).await, Ok(vec![]));
}

#[tokio::test]
async fn ollama_is_asked_for_its_tags() {
    let server = Server::start(|mut peer| async move {
        let request = peer.request().await.unwrap();
        assert!(request.starts_with("GET /api/tags HTTP/1.1\r\n"), "{request}");
        // Ollama's docs/api.md, List Local Models, shortened
        peer.send(&json(
            "200 OK",
            r#"{"models":[{"name":"deepseek-r1:latest","model":"deepseek-r1:latest","size":4683075271}]}"#,
        ))
        .await;
    })
    .await;
    for base_url in [format!("http://{}", server.address), format!("http://{}/v1", server.address)] {
        let own = Configured { dialect: Dialect::Ollama, base_url, ..provider(server.address) };
        assert_eq!(listed(&own).await, Ok(vec!["deepseek-r1:latest".to_owned()]));
    }
}

#[tokio::test]
async fn what_is_no_list_is_told() {
    assert_eq!(found(json("401 Unauthorized", "{}")).await, Err("GET /v1/models gives status 401".to_owned()));
    assert_eq!(found(json("200 OK", "{}")).await, Err("the answer is not a list of models".to_owned()));
    let nowhere = Configured { base_url: "nowhere".to_owned(), ..provider("127.0.0.1:9".parse().unwrap()) };
    assert_eq!(listed(&nowhere).await, Err("`nowhere` is not an http or https URL with a host".to_owned()));
    let silent = Server::start(|mut peer| async move { peer.wait_for_close().await }).await;
    assert_eq!(listed(&provider(silent.address)).await, Err("no list of models within 500ms".to_owned()));
}

#[tokio::test]
async fn nobody_there_and_a_redirect_are_told_without_following() {
    let other = Server::answering(json("200 OK", "{}")).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = "error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)";
    assert_eq!(listed(&provider(nobody)).await, Err(told.to_owned()));
    let elsewhere = format!("HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", other.address);
    assert_eq!(found(elsewhere).await, Err("GET /v1/models gives status 302".to_owned()));
    assert_eq!(other.connections(), 0);
}
