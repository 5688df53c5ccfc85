//! The pool with a real child process: `examples/bootstrap.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::*;
use crate::environment::Concurrency;

/// An upper bound for each wait, not a delay.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the path of the example, which Cargo builds with the tests.
fn bootstrap() -> PathBuf {
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/bootstrap");
    assert!(path.exists(), "build it: cargo build -p sluicegate-lambda-emulator --examples");
    path
}

fn spec(environment: &[(&str, &str)]) -> FunctionSpec {
    FunctionSpec {
        name: "consumer".to_owned(),
        arn: "arn:aws:lambda:eu-west-1:000000000000:function:consumer".to_owned(),
        binary: bootstrap(),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        memory_mb: 256,
        timeout: Duration::from_secs(10),
        concurrency: Concurrency::Unreserved(2),
        freeze: false,
    }
}

type Log = Arc<watch::Sender<Vec<String>>>;

async fn start(spec: FunctionSpec) -> (Result<Function, StartError>, Log) {
    let log: Log = Arc::new(watch::Sender::new(Vec::new()));
    let observer: FunctionObserver = Arc::new({
        let log = Arc::clone(&log);
        move |name, line| log.send_modify(|log| log.push(format!("{name}: {line}")))
    });
    (Function::start(spec, observer).await, log)
}

async fn started(spec: FunctionSpec) -> (Function, Log) {
    let (function, log) = start(spec).await;
    (function.unwrap(), log)
}

async fn seen(log: &Log, line: &str) {
    let mut log = log.subscribe();
    let seen = timeout(PATIENCE, log.wait_for(|log| log.iter().any(|entry| entry.ends_with(line)))).await.is_ok();
    assert!(seen, "no line {line:?} in {:?}", log.borrow());
}

/// Waits until this number of processes is running.
async fn living(function: &Function, processes: usize) {
    let mut living = function.inner.counts.live.subscribe();
    timeout(PATIENCE, living.wait_for(|count| *count == processes)).await.unwrap().unwrap();
}

async fn invoke(function: &Function, payload: &'static str) -> Invocation {
    timeout(PATIENCE, function.invoke(Bytes::from_static(payload.as_bytes()), None)).await.unwrap()
}

async fn pid(function: &Function) -> i32 {
    let Invocation::Response(body) = invoke(function, "1").await else { panic!("no response") };
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["echo"], 1);
    i32::try_from(answer["pid"].as_i64().unwrap()).unwrap()
}

fn error_type(invocation: &Invocation) -> String {
    let Invocation::FunctionError { payload } = invocation else { panic!("{invocation:?}") };
    serde_json::from_slice::<Value>(payload).unwrap()["errorType"].as_str().unwrap().to_owned()
}

/// Returns the third field of /proc/PID/stat; `None` once the process has ended.
fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Waits until the kernel has stopped the process: a signal is sent at once but takes effect when the process is
/// scheduled.
async fn stopped(pid: i32) {
    let stopped = async {
        while process_state(pid) != Some('T') {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, stopped).await.is_ok(), "{pid} is {:?}", process_state(pid));
}

#[tokio::test]
async fn an_environment_is_reused() {
    let (function, log) = started(spec(&[])).await;
    assert_eq!(pid(&function).await, pid(&function).await);
    seen(&log, "consumer: invoked").await;
    function.stop().await;
}

#[tokio::test]
async fn invocations_above_the_concurrency_limit_are_throttled() {
    let (function, log) = started(spec(&[])).await;
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let function = function.clone();
            tokio::spawn(async move { function.invoke(Bytes::from_static(b"\"sleep\""), None).await })
        })
        .collect();
    living(&function, 2).await;
    for _ in 0..3 {
        assert_eq!(invoke(&function, "1").await, Invocation::Throttled);
    }
    seen(&log, "throttled (1 in all): 2 environments are busy, as many as --concurrency allows").await;
    assert_eq!(log.borrow().iter().filter(|line| line.contains("throttled")).count(), 1, "one line a second");
    function.stop().await;
    for invocation in busy {
        assert_eq!(error_type(&invocation.await.unwrap()), "Runtime.ExitError");
    }
    assert_eq!(invoke(&function, "1").await, Invocation::Throttled, "a stopped function runs nothing");
}

#[tokio::test]
async fn a_function_with_a_reserved_concurrency_of_0_is_throttled() {
    let (function, log) = started(FunctionSpec { concurrency: Concurrency::Reserved(0), ..spec(&[]) }).await;
    assert_eq!(invoke(&function, "1").await, Invocation::Throttled);
    seen(&log, "0 environments are busy, as many as ReservedConcurrentExecutions in the template allows").await;
    function.stop().await;
}

#[tokio::test]
async fn a_burst_is_not_throttled_and_starts_few_environments_at_a_time() {
    let (function, _) = started(FunctionSpec { concurrency: Concurrency::Unreserved(1_000), ..spec(&[]) }).await;
    let calls = (0..200).map(|_| {
        let function = function.clone();
        tokio::spawn(async move { pid(&function).await })
    });
    let mut environments = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        environments.insert(call.await.unwrap());
    }
    assert_eq!(function.counts().throttles(), 0);
    assert!(environments.len() < 200, "waiting invocations took idle environments");
    function.stop().await;
}

#[tokio::test]
async fn a_crash_is_an_exit_error_and_the_environment_is_replaced() {
    let (function, log) = started(spec(&[])).await;
    let before = pid(&function).await;
    let Invocation::FunctionError { payload } = invoke(&function, "\"exit\"").await else { panic!("no error") };
    let document: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(document["errorType"], "Runtime.ExitError");
    let message = document["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("RequestId: ") && message.ends_with(" Error: Runtime exited with error: exit status 1")
    );
    assert_ne!(before, pid(&function).await);
    seen(&log, "exit status 1\",\"errorType\":\"Runtime.ExitError\"}").await;
    function.stop().await;
}

#[tokio::test]
async fn a_reported_error_keeps_the_environment() {
    let (function, _) = started(spec(&[])).await;
    let before = pid(&function).await;
    assert_eq!(error_type(&invoke(&function, "\"error\"").await), "Bad");
    assert_eq!(before, pid(&function).await);
    function.stop().await;
}

#[tokio::test]
async fn a_time_out_kills_the_process() {
    let (function, log) = started(FunctionSpec { timeout: Duration::from_millis(250), ..spec(&[]) }).await;
    let before = pid(&function).await;
    assert_eq!(invoke(&function, "\"sleep\"").await, Invocation::TimedOut);
    seen(&log, "Task timed out after 0.25 seconds").await;
    assert_ne!(before, pid(&function).await);
    function.stop().await;
    assert_eq!(process_state(before), None);
}

#[tokio::test]
async fn a_failed_init_is_reported_with_the_log() {
    let (failure, _) = start(spec(&[("ON_INIT", "exit")])).await;
    let failure = failure.err().unwrap();
    assert_eq!(failure.to_string(), "function consumer: Runtime exited with error: exit status 3");
    assert!(failure.log.contains(&"started".to_owned()) && failure.log.contains(&"no configuration".to_owned()));

    let (failure, _) = start(spec(&[("ON_INIT", "error")])).await;
    assert!(failure.err().unwrap().to_string().ends_with(r#"init failed: {"errorType":"Bad","errorMessage":"init"}"#));

    let (failure, _) = start(FunctionSpec { binary: "/nowhere/bootstrap".into(), ..spec(&[]) }).await;
    assert!(failure.err().unwrap().to_string().contains("cannot start /nowhere/bootstrap"));
}

#[tokio::test]
async fn code_that_does_not_start_fails_the_invocation_until_it_is_replaced() {
    let (function, _) = started(spec(&[])).await;
    let before = pid(&function).await;
    assert!(function.replace("/nowhere/bootstrap".into()).await.is_err());
    assert_eq!(error_type(&invoke(&function, "1").await), "Runtime.InvalidEntrypoint");
    function.replace(bootstrap()).await.unwrap();
    assert_ne!(before, pid(&function).await);
    function.stop().await;
}

#[tokio::test]
async fn a_process_killed_while_idle_costs_no_invocation() {
    let (function, _) = started(spec(&[])).await;
    let before = pid(&function).await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before), nix::sys::signal::Signal::SIGKILL).unwrap();
    living(&function, 0).await;
    assert_ne!(before, pid(&function).await);
    function.stop().await;
}

#[tokio::test]
async fn a_frozen_process_is_stopped_between_invocations_and_works_again() {
    let (function, _) = started(FunctionSpec { freeze: true, ..spec(&[]) }).await;
    let first = pid(&function).await;
    stopped(first).await;
    assert_eq!(first, pid(&function).await);
    stopped(first).await;
    function.stop().await;
    assert_eq!(process_state(first), None);
}

#[tokio::test]
async fn freezing_can_be_switched_on_and_off_while_a_function_runs() {
    let (function, _) = started(spec(&[])).await;
    let first = pid(&function).await;
    assert!(!function.is_frozen_when_idle());
    function.set_frozen_when_idle(true);
    stopped(first).await;
    assert_eq!(first, pid(&function).await);
    stopped(first).await;
    function.set_frozen_when_idle(false);
    assert_ne!(process_state(first), Some('T'));
    assert_eq!((first, function.busy_environments()), (pid(&function).await, 0));
    function.stop().await;
}

#[tokio::test]
async fn a_dropped_invoke_does_not_corrupt_the_environment() {
    let (function, log) = started(spec(&[])).await;
    let first = pid(&function).await;
    let mut call = Box::pin(function.invoke(Bytes::from_static(b"2"), None));
    assert!(futures_poll_once(call.as_mut()).await.is_none());
    drop(call);
    let mut log = log.subscribe();
    timeout(PATIENCE, log.wait_for(|log| log.iter().filter(|line| line.ends_with("invoked")).count() == 2))
        .await
        .unwrap()
        .unwrap();
    // The permit is released after the environment was returned.
    timeout(PATIENCE, async { drop(function.inner.permits.acquire_many(2).await.unwrap()) }).await.unwrap();
    assert_eq!(first, pid(&function).await);
    function.stop().await;
}

async fn futures_poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_runtime_api_refuses_the_calls_that_lambda_refuses() {
    let (function, log) = started(spec(&[])).await;
    assert_eq!(invoke(&function, "\"twice\"").await, Invocation::Response(Bytes::from_static(b"{}")));
    seen(&log, "unknown 400, first 202, second 403").await;
    assert_eq!(error_type(&invoke(&function, "\"large\"").await), "Function.ResponseSizeTooLarge");
    seen(&log, "large 413").await;
    function.stop().await;
}

#[tokio::test]
async fn the_function_gets_only_lambdas_variables_and_its_own() {
    let own = [("FORWARD_URL", "http://127.0.0.1:1/"), ("AWS_REGION", "mars-1")];
    let (function, _) = started(spec(&own)).await;
    let Invocation::Response(body) = invoke(&function, "\"variables\"").await else { panic!("no response") };
    function.stop().await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(variables["FORWARD_URL"], "http://127.0.0.1:1/");
    assert_eq!(variables["AWS_REGION"], "eu-west-1", "reserved");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "256");
    assert_eq!(variables["LAMBDA_TASK_ROOT"], bootstrap().parent().unwrap().to_str().unwrap());
    assert!(!variables.contains_key("HOME") && !variables.contains_key("CARGO_MANIFEST_DIR"));
}

#[tokio::test]
async fn dropping_the_function_ends_its_processes() {
    let (function, _) = started(spec(&[])).await;
    let mut living = function.inner.counts.live.subscribe();
    let first = pid(&function).await;
    drop(function);
    timeout(PATIENCE, living.wait_for(|n| *n == 0)).await.unwrap().unwrap();
    assert_eq!(process_state(first), None);
}
