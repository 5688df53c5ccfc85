//! README.md and docs say what is so: every command is run, every link leads somewhere, every figure that can be computed is.
//!
//! The word behind `sh` says where a block's commands run:
//!
//! | block | where |
//! |---|---|
//! | `sh` | beside a running `cargo local`, whose ports take the place of 3000, 3001 and 4566 |
//! | `sh rabbitmq` | the same, with a RabbitMQ in the place of `amqp://127.0.0.1:5672` |
//! | `sh aws` | an AWS account with a deployed stack, here LocalStack |
//! | `sh build` | what takes minutes or has a check of its own: the test sees that a script which runs has the command |
//!
//! The comment below a command has words of its answer, or starts with `exits 1`.

mod account;
mod commands;
mod complete;
mod cost;
mod develop;
mod links;
mod local;
mod order_placed;
mod page;
mod picture;
mod shell;
