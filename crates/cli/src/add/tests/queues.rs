//! Tests of queues.

use super::{check_there_and_back, files};

#[test]
fn a_queue_is_a_declaration_and_a_variable() {
    let changed = check_there_and_back(&files::project(), &["add queue big-jobs --fifo"], &["remove queue big-jobs"]);
    assert_eq!(
        changed,
        "\
template.yaml
+          QUEUE_BIG_JOBS: !GetAtt BigJobsQueue.Outputs.Target
+  BigJobsQueue:
+    Type: AWS::CloudFormation::Stack
+    Properties:
+      TemplateURL: infra/queue.yaml
+      Parameters:
+        <<: *queue
+        Name: big-jobs
+        Fifo: 'true'
+
"
    );
}

#[test]
fn queues_come_and_go_in_any_order() {
    check_there_and_back(
        &files::project(),
        &["add queue a", "add queue b --fifo", "add queue c"],
        &["remove queue b", "remove queue a", "remove queue c"],
    );
}
