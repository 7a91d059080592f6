//! An application that emits events and knows what became of each: `cargo run --release -- demo` in
//! one terminal, then `cargo run --release -p sdk-producer --example emit` in another.

#![expect(clippy::print_stdout, reason = "this is what it shows")]

use sdk_producer::{Event, Producer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or("http://127.0.0.1:7400".to_owned());
    let producer = Producer::builder().endpoint(endpoint).header("app", "emit").start()?;
    for number in 1..=10 {
        let event = Event::new(format!("order {number}")).with_header("kind", "order");
        let receipt = producer.send(event).await?.await?;
        println!("{} is {} at offset {}", receipt.id, receipt.level, receipt.offset);
    }
    producer.close().await?;
    Ok(())
}
