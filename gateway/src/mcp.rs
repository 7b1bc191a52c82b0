//! The same calls over the Model Context Protocol (Streamable HTTP): stateless, answers as plain JSON.
//! A tool's `_meta` says its risk class and the mildest answer that this agent can get.

use crate::agents::{number, perform, perform_streaming, poll, token, unauthenticated};
use crate::answer::{Answer, refusal};
use crate::pdp::Pdp;
use crate::serve::{BODY_BYTES_MAX, Source};
use crate::stream::Told;
use axum::http::StatusCode;
use axum::http::request::Parts;
use contract::bytes::Bytes;
use contract::door::FromDoor;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject,
    ListToolsResult, MetaObject, NotificationMetaObject, PaginatedRequestParams,
    ProgressNotificationParam, ProgressToken, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// The tool that asks what became of a call.
const RESULT: &str = "call.result";
const INSTRUCTIONS: &str = "Each tool is a capability of this box. A policy decides each call: it \
    happens, waits for a person (status `pending`: ask call.result with its number), or is denied \
    with the rule that says so. Files are under /workspace.";

/// One request's view of the box.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pdp: Pdp,
}

/// The service at `/mcp`.
pub(crate) fn service(pdp: Pdp) -> StreamableHttpService<Handler, NeverSessionManager> {
    // hosts are not compared: who gets in has a token, and a page of a browser has none
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_BYTES_MAX);
    let handler = Handler { pdp };
    let make = move || Ok(handler.clone());
    StreamableHttpService::new(make, Arc::new(NeverSessionManager::default()), config)
}

/// Who asks, from where.
fn caller(context: &RequestContext<RoleServer>) -> Result<(Bytes, String), ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let token = parts.and_then(|parts| token(&parts.headers));
    let source = parts.and_then(|parts| parts.extensions.get::<Source>());
    let token = token.ok_or_else(|| match unauthenticated() {
        Answer::Json(_, error) => refused(&error),
        Answer::File(..) => ErrorData::internal_error("unexpected answer", None),
    })?;
    Ok((token, source.map(|source| source.0.clone()).unwrap_or_default()))
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("kruxos", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (token, source) = caller(&context)?;
        let message = |number| FromDoor::Tools { number, token, source };
        let asked = self.pdp.ask(message, Vec::new()).await;
        let tools = match Answer::of(asked) {
            Answer::Json(StatusCode::OK, json) => json,
            Answer::Json(_, error) => return Err(refused(&error)),
            Answer::File(..) => return Err(ErrorData::internal_error("unexpected answer", None)),
        };
        let tools = tools.get("tools").and_then(Json::as_array).into_iter().flatten();
        let tools = tools.filter_map(tool).chain([result_tool()]);
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (token, source) = caller(&context)?;
        let input = Json::Object(request.arguments.unwrap_or_default());
        let answer = if request.name == RESULT {
            let from = input.get("from").and_then(Json::as_u64);
            match number(input.get("call").and_then(Json::as_str).unwrap_or_default()) {
                Ok(call) => poll(&self.pdp, token, source, call, from).await.answer(call, from),
                Err(refusal) => refusal,
            }
        } else {
            let (caller, name) = ((token, source), request.name.to_string());
            match context.meta.get_progress_token() {
                Some(progress) => self.perform(caller, name, &input, &context, progress).await?,
                None => perform(&self.pdp, caller, name, &input).await,
            }
        };
        let answer = match answer {
            Answer::Json(status, json) => (status, json),
            Answer::File(..) => match refusal(StatusCode::BAD_GATEWAY, "bad_answer", "", "") {
                Answer::Json(status, json) => (status, json),
                Answer::File(..) => (StatusCode::BAD_GATEWAY, Json::Null),
            },
        };
        Ok(match answer {
            (StatusCode::UNAUTHORIZED, error) => return Err(refused(&error)),
            (status, json) if status.is_success() => CallToolResult::structured(json),
            (_, error) => CallToolResult::structured_error(error),
        }
        .into())
    }
}

impl Handler {
    /// A call whose client wants to hear of its progress: each piece is a notification, with which the
    /// response becomes a stream. One whose client is gone ends.
    async fn perform(
        &self,
        caller: (Bytes, String),
        name: String,
        input: &Json,
        context: &RequestContext<RoleServer>,
        progress: ProgressToken,
    ) -> Result<Answer, ErrorData> {
        let mut begun = match perform_streaming(&self.pdp, caller, name, input).await {
            Ok(begun) => begun,
            Err(answer) => return Ok(answer),
        };
        let gone = || ErrorData::internal_error("nobody waits for this any more", None);
        for count in 1_u32.. {
            let told = tokio::select! {
                () = context.ct.cancelled() => return Err(gone()),
                told = begun.told.recv() => told,
            };
            let piece = match told.ok_or_else(gone)? {
                Told::Piece(piece, _) => piece,
                Told::End(answer) => return Ok(answer),
            };
            let mut param = ProgressNotificationParam::new(progress.clone(), f64::from(count));
            let meta = JsonObject::from_iter([("kruxos/piece".to_owned(), json!(piece))]);
            param.meta = Some(NotificationMetaObject(MetaObject(meta)));
            param.message = (!piece.base64).then_some(piece.content);
            context.peer.notify_progress(param).await.map_err(|_error| gone())?;
        }
        Err(gone())
    }
}

fn refused(error: &Json) -> ErrorData {
    let message = error.pointer("/error/message").and_then(Json::as_str).unwrap_or("refused");
    ErrorData::invalid_request(message.to_owned(), error.get("error").cloned())
}

fn tool(one: &Json) -> Option<Tool> {
    let text = |name: &str| one.get(name).and_then(Json::as_str).map(str::to_owned);
    let name = text("name")?;
    let reads = one.get("reads_only").and_then(Json::as_bool).unwrap_or(false);
    let schema: JsonObject = one.get("input")?.as_object()?.clone();
    let mut meta = JsonObject::new();
    for key in ["risk", "mildest"] {
        meta.insert(format!("kruxos/{key}"), json!(text(key)?));
    }
    let annotations = ToolAnnotations::new().read_only(reads).destructive(!reads).open_world(false);
    let description = format!(
        "{} {} Risk {}; the mildest answer that you can get is: {}.",
        text("purpose")?,
        text("when")?,
        text("risk")?,
        text("mildest")?
    );
    let tool = Tool::new(name, description, Arc::new(schema));
    Some(tool.with_annotations(annotations).with_meta(MetaObject(meta)))
}

fn result_tool() -> Tool {
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["call"],
        "properties": { "call": { "type": "string", "pattern": "^[0-9a-f]{32}$",
            "description": "the call's number, from the answer that said `pending`" },
            "from": { "type": "integer", "minimum": 0, "description": "of a call that was asked for with a token for \
            progress: from which byte on you want what its program has written; 0, then what the answer says" } } });
    let schema = schema.as_object().cloned().unwrap_or_default();
    let description = "Says what became of a call that waited for a person, with its answer.";
    Tool::new(RESULT, description, Arc::new(schema))
        .with_annotations(ToolAnnotations::new().read_only(true).destructive(false))
}
