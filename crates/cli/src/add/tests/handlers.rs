//! Tests of handlers: what is written, and that it goes again. That it compiles is tested in tests/it.

use super::{Project, check_there_and_back, files, with};

#[test]
fn a_handler_is_a_file_a_module_and_a_registration() {
    for (event_type, flags, module, call) in [
        ("order.placed", "", "order_placed", ".on_json(\"order.placed\", handlers::order_placed::handle)"),
        ("order.placed", "--json", "order_placed", ".on_json(\"order.placed\", handlers::order_placed::handle)"),
        ("image-stored", "--bytes", "image_stored", ".on(\"image-stored\", handlers::image_stored::handle)"),
        ("github.*", "", "github", ".on_json(\"github.*\", handlers::github::handle)"),
        ("match", "", "match_", ".on_json(\"match\", handlers::match_::handle)"),
    ] {
        let changed = check_there_and_back(
            &files::project(),
            &[&format!("add handler {event_type} {flags}")],
            &[&format!("remove handler {event_type}")],
        );
        let (list, rest) = changed.split_once("functions/consumer/src/handlers/").expect("a file");
        assert_eq!(list, format!("functions/consumer/src/handlers.rs\n+\n+pub(crate) mod {module};\n"));
        assert!(rest.starts_with(&format!("{module}.rs\n+//! Handles `{event_type}`.\n")), "{rest}");
        let main = format!("src/main.rs\n-    Consumer::builder()\n+    Consumer::builder(){call}\n");
        assert!(
            rest.ends_with(&main)
                || rest.ends_with(
                    &main
                        .replace("builder().", "builder()\n+        .")
                        .replace("-    Consumer::builder()\n+    Consumer::builder()\n", "")
                ),
            "{rest}"
        );
    }
}

#[test]
fn the_type_has_the_fields_of_the_schema() {
    let project = Project::new(&files::project());
    project.succeed("add handler order.placed");
    let source = &project.files()["functions/consumer/src/handlers/order_placed.rs"];
    let fields = "\
pub(crate) struct OrderPlaced {
    #[serde(rename = \"orderId\")]
    order_id: String,
    sku: String,
    quantity: Option<u64>,
}
";
    assert!(source.contains(fields), "{source}");
    assert!(source.contains(r##"r#"{"sku": "sku-1", "orderId": "orderId-1"}"#"##), "{source}");
    let said = project.succeed("add handler an.other");
    assert!(said.contains("the contract has no schema for an.other"), "{said}");
}

#[test]
fn windows_line_ends_stay() {
    let files = files::project().into_iter().map(|(path, text)| (path, text.replace('\n', "\r\n"))).collect();
    check_there_and_back(&files, &["add handler order.placed"], &["remove handler order.placed"]);
}

#[test]
fn several_handlers_come_and_go() {
    check_there_and_back(
        &files::project(),
        &["add handler b.b", "add handler a.a", "add handler c.c --bytes"],
        &["remove handler b.b", "remove handler c.c", "remove handler a.a"],
    );
}

#[test]
fn a_handler_that_was_edited_stays_unless_forced() {
    let project = Project::new(&files::project());
    project.succeed("add handler order.placed");
    let path = "functions/consumer/src/handlers/order_placed.rs";
    let text = with(project.files(), path, "Outcome::Done\n", "Outcome::Retry\n").remove(path).expect("the file");
    std::fs::write(project.0.path().join(path), text).expect("written");
    let before = project.files();
    let error = project.run("remove handler order.placed").expect_err("edited");
    assert!(error.contains("--force deletes it"), "{error}");
    assert_eq!(project.files(), before);
    project.succeed("remove handler order.placed --force");
    assert_eq!(project.files(), files::project());
}
