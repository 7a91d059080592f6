//! `dead-letters`: events that could not be placed; list, show, replay.

mod letter;

use crate::arguments::{DeadLetters, Global, Output, SendArguments};
use crate::print::{bytes, count, json, line, table, text};
use crate::send::{self, Sender};
use crate::{Verdict, admin};
use anyhow::Result;
use proto::v1::{ListDeadLettersRequest, ShowDeadLettersRequest};

pub(crate) async fn run(global: &Global, command: &DeadLetters) -> Result<Verdict> {
    match command {
        DeadLetters::List { flow } => list(global, flow).await,
        DeadLetters::Show { path } => show(global, path).await,
        DeadLetters::Replay { path, skip, send } => replay(global, path, *skip, send).await,
    }
}

async fn list(global: &Global, flow: &str) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    let request = ListDeadLettersRequest { flow: flow.to_owned() };
    let reply = node.list_dead_letters(request).await.map_err(admin::refusal)?.into_inner();
    if global.output == Output::Json {
        json(&reply)?;
        return Ok(Verdict::Well);
    }
    table(
        ["FLOW", "EVENTS", "BYTES", "PATH"],
        reply.files.iter().map(|file| {
            [text(&file.flow), count(file.events), bytes(file.bytes), text(&file.path)]
        }),
    );
    Ok(Verdict::Well)
}

async fn show(global: &Global, path: &str) -> Result<Verdict> {
    let mut node = admin::connect(global).await?;
    let request = ShowDeadLettersRequest { path: path.to_owned(), flow: String::new() };
    let mut letters = node.show_dead_letters(request).await.map_err(admin::refusal)?.into_inner();
    while let Some(letter) = letters.message().await.map_err(admin::refusal)? {
        line(&letter.json);
    }
    Ok(Verdict::Well)
}

async fn replay(
    global: &Global,
    path: &str,
    skip: u64,
    arguments: &SendArguments,
) -> Result<Verdict> {
    let endpoints = send::ingest(global, arguments).await?;
    let mut node = admin::connect(global).await?;
    let request = ShowDeadLettersRequest { path: path.to_owned(), flow: String::new() };
    let mut letters = node.show_dead_letters(request).await.map_err(admin::refusal)?.into_inner();
    // Headers that are given mend what was wrong: they replace those of the event.
    let mut sender = Sender::start(&endpoints, global.security.client()?, arguments, &[])?;
    let mut number = 0;
    while sender.has_hope()
        && let Some(letter) = letters.message().await.map_err(admin::refusal)?
    {
        number += 1;
        if number <= skip {
            continue;
        }
        match letter::event(&letter.json) {
            Ok(mut event) => {
                for (key, value) in &arguments.headers {
                    event.headers.set(key, value);
                }
                sender.send(number, event).await;
            }
            Err(error) => sender.refuse(number, &format!("it is no dead letter: {error:#}")),
        }
    }
    send::show(global, sender.finish("record").await?)
}
