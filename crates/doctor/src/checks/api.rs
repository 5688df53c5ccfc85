//! Checks of the HTTP side: routes, limits, function URLs.

use sluicegate_contract::Drift;

use super::{Check, Findings, Model, Severity};
use crate::model::{Api, Function, is_routed};

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const INTEGRATION_S_MAX: u64 = 30;

const MUTUAL_TLS: &str = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-mutual-tls.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "integration-timeout",
        severity: Severity::Warning,
        title: "a function behind an HTTP API may run for longer than the API waits",
        why: "After 30 s the client gets a 503 while the function goes on. The message may be stored, and the client sends it again.",
        fix: "Set the function's Timeout below 30, so that it can answer 503 with Retry-After itself.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html",
        find: integration_timeout,
    },
    Check {
        id: "api-throttling",
        severity: Severity::Warning,
        title: "an HTTP API does not limit requests",
        why: "One client can use up the account's limit, which all APIs of the Region share; the other APIs then answer 429.",
        fix: "Set DefaultRouteSettings: ThrottlingRateLimit and ThrottlingBurstLimit.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html",
        find: api_throttling,
    },
    Check {
        id: "throttling-zero",
        severity: Severity::Error,
        title: "an HTTP API refuses every request",
        why: "With a limit of 0 the gateway answers 429 to every request.",
        fix: "Set ThrottlingRateLimit and ThrottlingBurstLimit to 1 or more. To close a route, remove it.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html",
        find: throttling_zero,
    },
    Check {
        id: "api-access-logs",
        severity: Severity::Warning,
        title: "an HTTP API writes no access log",
        why: "What the gateway refuses by itself (413, 429, 503) leaves no trace: HTTP APIs have no other log.",
        fix: "Set AccessLogSettings, with $context.error.message and $context.integrationErrorMessage in its format.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html",
        find: api_access_logs,
    },
    Check {
        id: "function-url-public",
        severity: Severity::Warning,
        title: "a function URL is public",
        why: "With AuthType NONE every request from the Internet is an invocation that you pay for, without a limit.",
        fix: "Use the HTTP API, or AuthType AWS_IAM behind CloudFront.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
        find: function_url_public,
    },
    Check {
        id: "function-url-permissions",
        severity: Severity::Error,
        title: "a public function URL lacks one of its two permissions",
        why: "Since October 2025 a URL needs lambda:InvokeFunctionUrl and lambda:InvokeFunction; the exemption for older ones ended on 1 November 2026. Every request is answered 403.",
        fix: "Add an AWS::Lambda::Permission for each; the second one with InvokedViaFunctionUrl: true.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
        find: function_url_permissions,
    },
    Check {
        id: "route-missing",
        severity: Severity::Error,
        title: "the contract has a route that the API does not have",
        why: "The gateway answers 404 and the function never sees the request.",
        fix: "Run sluicegate sync, which writes the contract's routes into the template, and deploy.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html",
        find: route_missing,
    },
    Check {
        id: "route-drift",
        severity: Severity::Warning,
        title: "contract and template differ in their routes",
        why: "Limits, logs and metrics by route do not match the contract, and a route that was removed still invokes the function.",
        fix: "Run sluicegate sync, which writes the contract's routes into the template, and deploy.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html",
        find: route_drift,
    },
    Check {
        id: "cors-at-gateway",
        severity: Severity::Error,
        title: "the contract has x-cors, and the API has CORS settings of the gateway beside it",
        why: "The gateway answers preflight requests before ingress and replaces the CORS headers of its answers, so x-cors has no effect.",
        fix: "Remove CorsConfiguration of the API (x-amazon-apigateway-cors of its document): x-cors of the contract replaces it.",
        source: "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html",
        find: cors_at_gateway,
    },
    Check {
        id: "mutual-tls-missing",
        severity: Severity::Warning,
        title: "the contract accepts client certificates, and no domain of the API asks for them",
        why: "API Gateway takes a certificate on a custom domain with a truststore only: without one, a route that needs a certificate answers every request with 401.",
        fix: "Set Domain with MutualTlsAuthentication: { TruststoreUri: s3://BUCKET/truststore.pem }, and DisableExecuteApiEndpoint: true. With a domain in another stack, ignore this.",
        source: MUTUAL_TLS,
        find: mutual_tls_missing,
    },
    Check {
        id: "mutual-tls-bypassed",
        severity: Severity::Warning,
        title: "an API has a domain with mutual TLS, and its default endpoint is open",
        why: "The default endpoint asks for no certificate, so any caller reaches the routes whose contract does not require one.",
        fix: "Set DisableExecuteApiEndpoint: true.",
        source: MUTUAL_TLS,
        find: mutual_tls_bypassed,
    },
];

fn integration_timeout(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| is_routed(&model.apis, function)) {
        if let Some(timeout_s) = function.timeout_s.copied().filter(|timeout_s| *timeout_s >= INTEGRATION_S_MAX) {
            findings.add(&function.origin, "Timeout", format!("may run for {timeout_s} s"));
        }
    }
}

fn api_throttling(model: &Model<'_>, findings: &mut Findings) {
    for api in model.apis.iter().filter(|api| api.throttled.is(&false)) {
        findings.add(&api.origin, "DefaultRouteSettings", "has no ThrottlingRateLimit");
    }
}

fn throttling_zero(model: &Model<'_>, findings: &mut Findings) {
    for api in &model.apis {
        for path in &api.closed {
            findings.add(&api.origin, path, format!("{path} is 0"));
        }
    }
}

fn api_access_logs(model: &Model<'_>, findings: &mut Findings) {
    for api in model.apis.iter().filter(|api| api.access_logs.is(&false)) {
        findings.add(&api.origin, "AccessLogSettings", "has no AccessLogSettings");
    }
}

fn function_url_public(model: &Model<'_>, findings: &mut Findings) {
    for url in model.urls.iter().filter(|url| url.auth.is("NONE")) {
        findings.add(&url.origin, "AuthType", "is NONE");
    }
}

fn function_url_permissions(model: &Model<'_>, findings: &mut Findings) {
    for url in model.urls.iter().filter(|url| url.auth.is("NONE")) {
        let Some(permitted) = &url.permitted else { continue };
        let given = |action: &&str| permitted.iter().any(|one| one == action || one == "lambda:*");
        let missing: Vec<_> =
            ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"].into_iter().filter(|action| !given(action)).collect();
        if !missing.is_empty() {
            findings.add(&url.origin, "", format!("no permission allows {}", missing.join(" and ")));
        }
    }
}

/// Returns the APIs that lead to a function that sends to queues.
fn admitting<'m>(model: &'m Model<'_>) -> impl Iterator<Item = &'m Api> {
    let sends = |name: &String| model.function(name).is_some_and(Function::binds_queues);
    model.apis.iter().filter(move |api| api.routes.iter().any(|route| route.function.as_ref().is_some_and(sends)))
}

/// Returns the APIs that lead to a function that sends to queues, with their difference from the contract, and whether
/// they have a route that takes every request.
fn drifts<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Api, Drift, bool)> {
    let contract = model.project.contract.as_ref();
    admitting(model).filter_map(move |api| {
        let keys = || api.routes.iter().map(|route| route.key.as_str());
        let takes_all = keys().any(|key| key == "$default" || key.ends_with("+}"));
        Some((api, Drift::between(contract?, keys()), takes_all))
    })
}

fn route_missing(model: &Model<'_>, findings: &mut Findings) {
    for (api, drift, _) in drifts(model).filter(|(.., takes_all)| !takes_all) {
        for route in &drift.missing {
            findings.add(&api.origin, "", format!("has no {route}"));
        }
    }
}

fn route_drift(model: &Model<'_>, findings: &mut Findings) {
    for (api, drift, takes_all) in drifts(model) {
        for route in drift.missing.iter().filter(|_| takes_all) {
            findings.add(&api.origin, "", format!("has no {route}"));
        }
        for route in api.routes.iter().filter(|route| drift.extra.contains(&route.key)) {
            findings.add(&route.origin, "", format!("the contract has no {}", route.key));
        }
    }
}

fn cors_at_gateway(model: &Model<'_>, findings: &mut Findings) {
    if model.project.contract.as_ref().is_none_or(|contract| contract.cors().is_none()) {
        return;
    }
    for api in admitting(model) {
        if let Some(property) = api.cors {
            findings.add(&api.origin, property, "has CORS settings, and the contract has x-cors");
        }
    }
}

fn mutual_tls_missing(model: &Model<'_>, findings: &mut Findings) {
    let accepting = model.project.contract.as_ref().and_then(|contract| contract.first_with_client_certificate());
    let Some(operation) = accepting else { return };
    for api in admitting(model).filter(|api| api.mutual_tls.is(&false)) {
        let what =
            format!("has no domain with MutualTlsAuthentication, and {} accepts a client certificate", operation.id);
        findings.add(&api.origin, "Domain", what);
    }
}

fn mutual_tls_bypassed(model: &Model<'_>, findings: &mut Findings) {
    let is_bypassed = |api: &&Api| api.mutual_tls.is(&true) && api.default_endpoint_disabled.is(&false);
    for api in model.apis.iter().filter(is_bypassed) {
        findings.add(
            &api.origin,
            "DisableExecuteApiEndpoint",
            "has MutualTlsAuthentication, and its default endpoint is open",
        );
    }
}
