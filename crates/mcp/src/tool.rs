//! What a tool is made of.

use crate::outcome::{CallOutcome, Failure, Reply};
use crate::{Toolset, schema};
use futures_core::future::BoxFuture;
use policy::Class;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sessions::Access;

/// What every tool works with.
#[derive(Debug, Clone)]
pub(crate) struct CallContext {
    /// The sessions, as the caller may use them.
    pub(crate) access: Access,
}

type Run = Box<dyn Fn(CallContext, JsonObject) -> BoxFuture<'static, CallOutcome> + Send + Sync>;

/// A tool and the code behind it.
pub(crate) struct ToolEntry {
    pub(crate) toolset: Toolset,
    /// Without it, the tool is neither offered nor run.
    pub(crate) class: Class,
    pub(crate) tool: Tool,
    pub(crate) run: Run,
}

/// How a tool presents itself.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) class: Class,
    pub(crate) effect: Effect,
}

/// What a call can do, for the protocol's hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Looks only.
    Reads,
    /// Changes something, but nothing that could be lost, and twice is as good as once.
    Sets,
    /// Like [`Sets`](Self::Sets), but each call adds.
    Adds,
    /// Whatever the desktop does with it.
    Acts,
}

impl ToolEntry {
    /// A tool with typed arguments and a typed result. Arguments that do not fit are a failure, told like
    /// any other.
    pub(crate) fn new<A, R, F, Fut>(toolset: Toolset, about: About, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(CallContext, A) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply<R>, Failure>> + Send + 'static,
    {
        let (reads, destructive, idempotent) = match about.effect {
            Effect::Reads => (true, false, true),
            Effect::Sets => (false, false, true),
            Effect::Adds => (false, false, false),
            Effect::Acts => (false, true, false),
        };
        let hints = ToolAnnotations::with_title(about.title)
            .read_only(reads)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(true);
        let tool = Tool::new(about.name, about.description, schema::of_arguments::<A>())
            .with_title(about.title)
            .with_raw_output_schema(schema::of_result::<R>())
            .with_annotations(hints);
        let run: Run = Box::new(move |context, arguments| {
            Box::pin(async move {
                match read::<A>(&arguments) {
                    Ok(arguments) => CallOutcome::of(run(context, arguments).await),
                    Err(_) => CallOutcome::of::<R>(Err(Failure::invalid(explain::<A>(&arguments)))),
                }
            })
        });
        Self { toolset, class: about.class, tool, run }
    }
}

fn read<A: DeserializeOwned>(arguments: &JsonObject) -> Result<A, serde_json::Error> {
    serde_json::from_value(Value::Object(arguments.clone()))
}

/// What is wrong with arguments, naming the member where serde does not, and repeating no value: it may be
/// a secret.
fn explain<A: DeserializeOwned>(arguments: &JsonObject) -> String {
    let problem = |arguments: &JsonObject| read::<A>(arguments).err().map(|error| error.to_string());
    let Some(message) = problem(arguments) else { return String::new() };
    let Some((kind, expected)) =
        message.strip_prefix("invalid ").and_then(|rest| rest.split_once(", expected "))
    else {
        return message;
    };
    // The one without which it is another problem, or none.
    let culprit = arguments.keys().find(|name| {
        let mut others = arguments.clone();
        others.remove(*name);
        problem(&others).as_ref() != Some(&message)
    });
    let member = culprit.map(|name| format!("{name}: ")).unwrap_or_default();
    let kind = kind.split(['`', '"']).next().unwrap_or_default().trim_end();
    format!("{member}invalid {kind}, expected {expected}")
}
