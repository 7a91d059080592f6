//! What is printed.

use super::measure::{Kills, Restart, Speed};
use super::system::{BATCH_EVENTS, BODY_BYTES, IN_FLIGHT, ROLL_BYTES, ROLL_SECONDS};
use crate::command::print;
use std::time::Duration;

/// How often it is at least to do per CPU second, at full speed, what Flume does.
pub(super) const GOAL: &str = " (at least 20)";

pub(super) struct Row<T> {
    pub(super) name: &'static str,
    pub(super) of: T,
}

pub(super) fn head() {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    print(&format!(
        "{cores} cores, {model}; server and client share them. Events of {BODY_BYTES} bytes with three \
         attributes, {BATCH_EVENTS} a batch, {IN_FLIGHT} batches in flight.\n\
         Both sync to disk before they acknowledge, and roll text files after {ROLL_SECONDS} s or {} MiB. \
         Rows are in the order of the runs.",
        ROLL_BYTES >> 20
    ));
}

pub(super) fn speeds(title: &str, goal: &str, rows: &[Row<Speed>]) {
    print(&format!(
        "\n{title}\n\n\
         | | acked/s | delivered/s | server CPU s/M | client CPU s/M | ack p50 ms | ack p99 ms | RSS MiB | CPU wait % |\n\
         |---|---|---|---|---|---|---|---|---|"
    ));
    for Row { name, of } in rows {
        print(&format!(
            "| {name} | {} | {} | {:.2} | {:.2} | {:.1} | {:.1} | {} | {:.0} |",
            grouped(of.report.acked_events_per_second as u64),
            grouped(of.delivered_per_second as u64),
            of.server_cpu(),
            of.client_cpu(),
            of.report.ack_ms.p50,
            of.report.ack_ms.p99,
            of.resident_max_mib,
            of.waited_percent,
        ));
    }
    let (flume, collector) = (cpu(rows, true), cpu(rows, false));
    print(&format!(
        "\nEvents per server CPU second, Collector : Flume = {:.1}{goal}",
        flume / collector
    ));
}

pub(super) fn restarts(rows: &[Row<Restart>]) {
    print(
        "\nStart after kill -9 with a backlog, until events are accepted\n\n\
         | | events waiting | s | server CPU s | RSS MiB | CPU wait % |\n|---|---|---|---|---|---|",
    );
    for Row { name, of } in rows {
        print(&format!(
            "| {name} | {} | {:.2} | {:.2} | {} | {:.0} |",
            grouped(of.waiting),
            of.seconds,
            of.cpu_seconds,
            of.resident_max_mib,
            of.waited_percent,
        ));
    }
}

pub(super) fn kills(rate: u64, rows: &[Row<Kills>]) {
    let times = rows.first().map_or(0, |row| row.of.outages.len());
    print(&format!(
        "\n{times} kill -9 at {} events/s; then all is delivered and the server ends in order\n\n\
         | | acked | lost | only in unfinished files | unfinished files | duplicated | … with the unfinished \
         | damaged lines | … with the unfinished | batches sent again | out of service s | CPU wait % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|",
        grouped(rate)
    ));
    for Row { name, of } in rows {
        let counted = &of.counted;
        print(&format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            grouped(of.report.acked_events),
            grouped(counted.lost),
            grouped(counted.only_unfinished),
            counted.unfinished_files,
            grouped(counted.duplicated),
            grouped(counted.duplicated_in_all),
            counted.damaged,
            counted.damaged_in_all,
            of.report.retried_blocks,
            seconds(&of.outages),
            of.waited_percent,
        ));
        if of.report.unknown + of.report.rejected > 0 {
            print(&format!(
                "\n{name}: {} events stayed without an answer, {} were refused",
                of.report.unknown, of.report.rejected
            ));
        }
    }
}

pub(super) fn limits() {
    print(include_str!("limits.txt").trim_end());
}

/// CPU seconds per million events, the mean of the rounds.
fn cpu(rows: &[Row<Speed>], flume: bool) -> f64 {
    let of: Vec<f64> = rows
        .iter()
        .filter(|row| row.name.starts_with("Flume") == flume)
        .map(|row| row.of.server_cpu())
        .collect();
    of.iter().sum::<f64>() / of.len() as f64
}

fn seconds(times: &[Duration]) -> String {
    times.iter().map(|time| format!("{:.1}", time.as_secs_f64())).collect::<Vec<_>>().join(" ")
}

/// `1,234,567`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
