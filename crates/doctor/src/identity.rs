//! The values of `Ref` and `GetAtt`, which identify a resource in the properties of another.
//!
//! A deployed resource has its real name. A resource of a template file has the name in its properties, or a unique
//! name of stack and logical id.

use std::collections::BTreeMap;

use sluicegate_sam::ResolvedResource;

/// Partition, region and account of a stack.
#[derive(Clone, Debug)]
pub(crate) struct StackIdentity {
    pub(crate) partition: String,
    pub(crate) region: String,
    pub(crate) account: String,
}

/// Returns the property that names a resource of this type.
pub(crate) fn name_property(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::SQS::Queue" => "QueueName",
        "AWS::Lambda::Function" | "AWS::Serverless::Function" => "FunctionName",
        "AWS::IAM::Role" => "RoleName",
        "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
        "AWS::Logs::LogGroup" => "LogGroupName",
        "AWS::SecretsManager::Secret" | "AWS::ApiGatewayV2::Api" | "AWS::Lambda::Alias" => "Name",
        "AWS::SNS::Topic" => "TopicName",
        "AWS::AmazonMQ::Broker" => "BrokerName",
        _ => return None,
    })
}

impl StackIdentity {
    /// Returns the values of `Ref` and `GetAtt` of a resource. `name` is its name, or the physical id of a deployed
    /// resource, which is an ARN or a URL for some types.
    pub(crate) fn physical(&self, kind: &str, name: &str) -> ResolvedResource {
        let last = |separator: char| name.rsplit(separator).next().unwrap_or(name);
        let by_name = |arn: String| ResolvedResource::new(name.to_owned(), [("Arn", arn)]);
        let by_arn = |arn: String| {
            let same = |attribute: &str| (attribute.to_owned(), arn.clone());
            ResolvedResource {
                reference: arn.clone(),
                attributes: BTreeMap::from(["Arn", "Id", "TopicArn", "PolicyArn"].map(same)),
            }
        };
        match kind {
            "AWS::SQS::Queue" => {
                let queue = last('/');
                let url = match name.contains("://") {
                    true => name.to_owned(),
                    false => format!("https://sqs.{}.amazonaws.com/{}/{queue}", self.region, self.account),
                };
                let attributes =
                    [("Arn", self.arn("sqs", queue)), ("QueueName", queue.to_owned()), ("QueueUrl", url.clone())];
                ResolvedResource::new(url, attributes)
            }
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => {
                by_name(self.arn("lambda", &format!("function:{name}")))
            }
            "AWS::IAM::Role" => by_name(format!("arn:{}:iam::{}:role/{name}", self.partition, self.account)),
            "AWS::Logs::LogGroup" => by_name(self.arn("logs", &format!("log-group:{name}:*"))),
            "AWS::KMS::Key" => by_name(self.arn("kms", &format!("key/{name}"))),
            "AWS::AmazonMQ::Broker" => by_name(self.arn("mq", &format!("broker:{name}"))),
            "AWS::EC2::SecurityGroup" => ResolvedResource::new(name.to_owned(), [("GroupId", name.to_owned())]),
            _ if name.starts_with("arn:") => by_arn(name.to_owned()),
            "AWS::IAM::ManagedPolicy" => by_arn(format!("arn:{}:iam::{}:policy/{name}", self.partition, self.account)),
            "AWS::SecretsManager::Secret" => by_arn(self.arn("secretsmanager", &format!("secret:{name}-AbCdEf"))),
            "AWS::SNS::Topic" => by_arn(self.arn("sns", name)),
            // The attributes of other types are unknown; `Ref` alone identifies them.
            _ => ResolvedResource::new(name.to_owned(), []),
        }
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }
}
