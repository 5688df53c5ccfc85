//! HTTP APIs with their routes, and function URLs.

use serde_json::Value;
use sluicegate_sam::{DEFAULT_ROUTE, EventKind, Props, Setting, events, function_of, pointer, route_key};

use super::Function;
use crate::inventory::{Inventory, Origin, Resource};

/// One HTTP API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) origin: Origin,
    /// The value of `Ref`.
    pub(crate) id: String,
    pub(crate) routes: Vec<Route>,
    /// A stage limits requests.
    pub(crate) throttled: Setting<bool>,
    /// The throttling limits that block every request.
    pub(crate) closed: Vec<String>,
    /// Requests are written to a log.
    pub(crate) access_logs: Setting<bool>,
    /// The property that makes the gateway answer preflight requests, if one does.
    pub(crate) cors: Option<&'static str>,
    /// A domain of the API has a truststore, so it asks for client certificates.
    pub(crate) mutual_tls: Setting<bool>,
    /// Its default endpoint is disabled.
    pub(crate) default_endpoint_disabled: Setting<bool>,
}

/// One route of an HTTP API.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) origin: Origin,
    /// `POST /orders` or `$default`.
    pub(crate) key: String,
    /// The function's name.
    pub(crate) function: Option<String>,
}

/// A function URL.
#[derive(Debug)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    pub(crate) auth: Setting<String>,
    /// The actions that permissions of its function give to every caller; `None` if SAM generates the permissions.
    pub(crate) permitted: Option<Vec<String>>,
}

/// Returns whether a route leads to the function.
pub(crate) fn is_routed(apis: &[Api], function: &Function) -> bool {
    apis.iter().flat_map(|api| &api.routes).any(|route| route.function.as_ref() == Some(&function.name))
}

/// The API that SAM generates for events without an ApiId.
const IMPLICIT: &str = "ServerlessHttpApi";

pub(super) fn all(inventory: &Inventory) -> Vec<Api> {
    let mut apis: Vec<Api> = Vec::new();
    for resource in inventory.of_kind("AWS::Serverless::HttpApi") {
        let props = resource.props();
        let routes = routes_of_body(props.get("DefinitionBody").known(), &resource.origin);
        apis.push(api(inventory, resource, routes, &[props]));
    }
    for resource in inventory.of_kind("AWS::ApiGatewayV2::Api") {
        let props = resource.props();
        if props.text("ProtocolType").known().is_some_and(|protocol| protocol == "WEBSOCKET") {
            continue;
        }
        let routes = routes_of_body(props.get("Body").known(), &resource.origin);
        let stages = inventory.of_kind("AWS::ApiGatewayV2::Stage").map(Resource::props);
        let stages: Vec<_> = stages.filter(|stage| stage.text("ApiId").is(&resource.reference)).collect();
        apis.push(api(inventory, resource, routes, &stages));
    }
    for resource in inventory.of_kind("AWS::Serverless::Function") {
        for event in events(&resource.reference, resource.props()) {
            if let EventKind::Route(route) = event.kind {
                let origin = resource.origin.part(event.name, &format!("Events/{}/Properties", event.name));
                event_route(&mut apis, resource, &origin, &route);
            }
        }
    }
    for resource in inventory.of_kind("AWS::ApiGatewayV2::Route") {
        let props = resource.props();
        let (Setting::Known(id), Setting::Known(key)) = (props.text("ApiId"), props.text("RouteKey")) else { continue };
        let target = props.text("Target").known().unwrap_or_default();
        let integration = inventory
            .of_kind("AWS::ApiGatewayV2::Integration")
            .find(|integration| target.strip_prefix("integrations/") == Some(&integration.reference));
        let uri = integration.and_then(|integration| integration.props().text("IntegrationUri").known());
        let function = uri.as_deref().and_then(function_of_uri);
        if let Some(api) = apis.iter_mut().find(|api| api.id == id) {
            api.routes.push(Route { origin: resource.origin.clone(), key, function });
        }
    }
    apis
}

fn event_route(apis: &mut Vec<Api>, resource: &Resource, origin: &Origin, route: &sluicegate_sam::Route) {
    let id = route.api.clone().or(IMPLICIT.to_owned());
    let (Some(id), Some(key)) = (id, route.key()) else { return };
    let route = Route { origin: origin.clone(), key, function: Some(resource.reference.clone()) };
    match apis.iter_mut().find(|api| api.id == id) {
        Some(api) => api.routes.push(route),
        // The template does not write the API that SAM generates, so the event is its place.
        None if id == IMPLICIT => apis.push(Api {
            origin: origin.clone(),
            id,
            routes: vec![route],
            throttled: Setting::unknown(),
            closed: Vec::new(),
            access_logs: Setting::unknown(),
            cors: origin.globals("HttpApi").and_then(|globals| cors(Props(globals))),
            mutual_tls: Setting::unknown(),
            default_endpoint_disabled: Setting::unknown(),
        }),
        None => {}
    }
}

fn api(inventory: &Inventory, resource: &Resource, routes: Vec<Route>, stages: &[Props<'_>]) -> Api {
    let limits = |stage: &Props<'_>| {
        let default = stage.object("DefaultRouteSettings");
        default.get("ThrottlingRateLimit").is_written()
            || default.get("ThrottlingBurstLimit").is_written()
            || stage.object("RouteSettings").members().next().is_some()
    };
    let logs = |stage: &Props<'_>| stage.get("AccessLogSettings").is_written();
    // An API without a stage here cannot be called, or has a stage in another template.
    let known = |holds: bool| if stages.is_empty() { Setting::unknown() } else { Setting::Known(holds) };
    Api {
        origin: resource.origin.clone(),
        id: resource.reference.clone(),
        routes,
        closed: stages.iter().flat_map(|stage| closed(*stage)).collect(),
        throttled: known(stages.iter().any(limits)),
        access_logs: known(stages.iter().any(logs)),
        cors: cors(resource.props()),
        mutual_tls: mutual_tls(inventory, resource),
        default_endpoint_disabled: resource.props().flag("DisableExecuteApiEndpoint").or_default(false),
    }
}

/// Returns whether a domain of an API has a truststore: the one that SAM generates, or one that is mapped to the API.
fn mutual_tls(inventory: &Inventory, api: &Resource) -> Setting<bool> {
    let mappings = inventory.of_kind("AWS::ApiGatewayV2::ApiMapping").map(Resource::props);
    let mappings = mappings.filter(|mapping| mapping.text("ApiId").as_str().is_none_or(|id| id == api.reference));
    let mapped = mappings.map(|mapping| {
        let name = mapping.text("DomainName").known();
        let mut domains = inventory.of_kind("AWS::ApiGatewayV2::DomainName");
        let domain = domains.find(|domain| name.as_ref() == Some(&domain.reference));
        // A domain of another template is not known.
        domain.map_or_else(Setting::unknown, |domain| has_truststore(domain.props()))
    });
    let domains: Vec<_> = mapped.chain([has_truststore(api.props().object("Domain"))]).collect();
    if domains.iter().any(|domain| domain.is(&true)) {
        return Setting::Known(true);
    }
    if domains.iter().any(Setting::is_unknown) { Setting::unknown() } else { Setting::Known(false) }
}

fn has_truststore(domain: Props<'_>) -> Setting<bool> {
    let mutual_tls = domain.get("MutualTlsAuthentication");
    mutual_tls.and_then(|it| Some(Props(it).get("TruststoreUri").is_written())).or_default(false)
}

/// Returns the property with the CORS settings of the gateway: its own, or an extension of its OpenAPI document.
fn cors(props: Props<'_>) -> Option<&'static str> {
    const EXTENSION: &str = "x-amazon-apigateway-cors";
    let is_set = |setting: Setting<&Value>| match setting {
        Setting::Known(value) => *value != Value::Bool(false),
        Setting::Unknown(_) | Setting::Absent => false,
    };
    if is_set(props.get("CorsConfiguration")) {
        return Some("CorsConfiguration");
    }
    ["DefinitionBody", "Body"].into_iter().find(|body| is_set(props.object(body).get(EXTENSION)))
}

/// Returns the throttling limits that are 0, of all routes and of single ones.
fn closed(stage: Props<'_>) -> Vec<String> {
    let zero = |limits: Props<'_>, place: &str| {
        let names = ["ThrottlingRateLimit", "ThrottlingBurstLimit"].into_iter();
        let names = names.filter(|name| limits.decimal(name).known().is_some_and(|limit| limit <= 0.0));
        names.map(|name| format!("{place}/{name}")).collect::<Vec<_>>()
    };
    let mut found = zero(stage.object("DefaultRouteSettings"), "DefaultRouteSettings");
    for (route, limits) in stage.object("RouteSettings").members() {
        found.extend(zero(Props(limits), &pointer::child("RouteSettings", route)));
    }
    found
}

/// Returns the routes of an OpenAPI document, with the functions its integrations name.
fn routes_of_body(body: Option<&Value>, origin: &Origin) -> Vec<Route> {
    let paths = body.map(|body| Props(body).object("paths"));
    let mut routes = Vec::new();
    for (path, methods) in paths.into_iter().flat_map(Props::members) {
        for (method, operation) in Props(methods).members() {
            let integration = Props(operation).object("x-amazon-apigateway-integration");
            let function = integration.text("uri").known().as_deref().and_then(function_of_uri);
            let path = if path == "/$default" { DEFAULT_ROUTE } else { path };
            let Some(key) = route_key(Some(method), Some(path)) else { continue };
            routes.push(Route { origin: origin.clone(), key, function });
        }
    }
    routes
}

/// Returns the function's name from `arn:…:lambda:path/2015-03-31/functions/ARN/invocations`, or from its ARN.
fn function_of_uri(uri: &str) -> Option<String> {
    let (_, name) = uri.rsplit_once(":function:")?;
    Some(function_of(name.trim_end_matches("/invocations")).0)
}

pub(super) fn urls(inventory: &Inventory) -> Vec<Url> {
    let sam = inventory.of_kind("AWS::Serverless::Function").filter_map(|resource| {
        let config = resource.props().get("FunctionUrlConfig").known()?;
        let origin = resource.origin.part("FunctionUrlConfig", "FunctionUrlConfig");
        Some(Url { origin, auth: Props(config).text("AuthType"), permitted: None })
    });
    let plain = inventory.of_kind("AWS::Lambda::Url").map(|resource| {
        let target = |props: Props<'_>, name| props.text(name).known().map(|reference| function_of(&reference).0);
        let owner = target(resource.props(), "TargetFunctionArn");
        let permissions = inventory
            .of_kind("AWS::Lambda::Permission")
            .filter(|permission| owner.is_none() || target(permission.props(), "FunctionName") == owner)
            .filter(|permission| permission.props().text("Principal").known().is_none_or(|principal| principal == "*"))
            .filter_map(|permission| permission.props().text("Action").known());
        let (origin, auth) = (resource.origin.clone(), resource.props().text("AuthType"));
        Url { origin, auth, permitted: Some(permissions.collect()) }
    });
    sam.chain(plain).collect()
}
