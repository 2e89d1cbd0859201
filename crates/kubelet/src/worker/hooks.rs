//! Lifecycle hooks: what a container wants done right after its start and right before its stop.

use std::net::IpAddr;
use std::time::Duration;

use container_runtime::RuntimeService;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::{Outcome, exec, http, manager, tcp};

/// How long an HTTP hook may take when its container sets no limit.
const HTTP_MAX: Duration = Duration::from_secs(30);

/// Runs one hook to its end; what went wrong otherwise.
pub(crate) async fn run(
    runtime: &dyn RuntimeService,
    container: &Container,
    container_id: &str,
    hook: &LifecycleHandler,
    host: IpAddr,
    agent: &str,
) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        let command = action.command.clone().unwrap_or_default();
        return match exec::probe(runtime, container_id, &command, Duration::ZERO).await {
            Outcome::Failure(output) => Err(format!(
                "Exec lifecycle hook ({command:?}) failed - error: command exited with a failure, message: {output:?}"
            )),
            Outcome::Error(error) => Err(error),
            Outcome::Success | Outcome::Warning(_) => Ok(()),
        };
    }
    if let Some(action) = &hook.http_get {
        let address = manager::address(container, host, action.host.as_deref(), &action.port)?;
        let agent = agent.replace("kube-probe", "kube-lifecycle");
        let target = http::Target::of(action, address, &agent);
        // Any answer is an answer: hooks deliver, they do not judge.
        return match tokio::time::timeout(HTTP_MAX, http::get(&target)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("Http lifecycle hook failed - error: {error}")),
            Err(_) => Err("Http lifecycle hook failed - error: no answer in time".to_owned()),
        };
    }
    if let Some(action) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or_default()))
            .await;
        return Ok(());
    }
    if let Some(action) = &hook.tcp_socket {
        let address = manager::address(container, host, action.host.as_deref(), &action.port)?;
        return match tcp::probe(address, HTTP_MAX).await {
            Outcome::Success => Ok(()),
            Outcome::Failure(error) | Outcome::Error(error) | Outcome::Warning(error) => Err(error),
        };
    }
    Err("invalid handler: it says nothing to do".to_owned())
}
