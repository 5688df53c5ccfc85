//! RabbitMQ topology as code: exchanges, queues, retry ladders and dead-letter queues from one file, made to be on a broker.
