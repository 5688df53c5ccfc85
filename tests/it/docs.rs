//! Accuracy of README.md and docs: the tests run every command, follow every link and compute every figure with a
//! source.
//!
//! The word after `sh` names the place where the commands of a block run:
//!
//! | block | where |
//! |---|---|
//! | `sh` | a running `cargo local`; its ports replace 3000, 3001 and 4566 |
//! | `sh rabbitmq` | the same, with a RabbitMQ that replaces `amqp://127.0.0.1:5672` |
//! | `sh project` | a copy of the files of a user, one for each page; `cd` changes the folder of the later ones |
//! | `sh route` | the same copy: an ingress in the test answers the request by the contract as it is there |
//! | `sh aws` | an AWS account with a deployed stack, here LocalStack |
//! | `sh build` | not run here, because it takes minutes; a script of tests/run or CI contains the command |
//!
//! The comment below a command has words of its output, or starts with `exits 1`.

mod account;
mod commands;
mod complete;
mod consumer;
mod cost;
mod develop;
mod links;
pub(crate) mod local;
mod order_placed;
mod page;
mod picture;
mod schemes;
mod shell;
