//! Where events begin and end.

use std::time::Duration;

use sdk_config::{ByteSize, DurationText, Multiline, MultilineWhat, OverLong};

use super::Tailing;

/// The events of a file with this content, each in brackets.
async fn events(tailing: &Tailing, content: &[u8], count: usize) -> String {
    tailing.append("a.log", content);
    tailing.start();
    let lines = tailing.spool.lines(count).await;
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies().len(), count, "{:?}", tailing.spool.bodies());
    tailing.stop().await;
    lines.iter().map(|line| format!("[{line}]")).collect()
}

#[tokio::test(start_paused = true)]
async fn lines_end_with_a_newline() {
    for (content, count, expected) in [
        (&b"a\nbc\n"[..], 2, "[a][bc]"),
        (b"a\r\nbc\r\n", 2, "[a][bc]"),
        (b"\n\na\n", 3, "[][][a]"),
        (b"a\rb\n\r\n", 2, "[a\rb][]"),
        (b"tail\nhalf", 1, "[tail]"),
        ("caf\u{e9}\u{0}\n".as_bytes(), 1, "[caf\u{e9}\u{0}]"),
    ] {
        assert_eq!(events(&Tailing::over("a.log"), content, count).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_through_as_they_are() {
    let tailing = Tailing::over("a.log");
    let body: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let expected = format!("[{}]", String::from_utf8_lossy(&body));
    assert_eq!(events(&tailing, &[&body[..], b"\n"].concat(), 1).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_line_waits_for_its_newline() {
    let tailing = Tailing::over("a.log");
    tailing.append("a.log", "one\ntw");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.look_around().await;
    tailing.append("a.log", "o\r");
    tailing.look_around().await;
    assert_eq!(tailing.spool.bodies(), ["one"]);
    tailing.append("a.log", "\nthree\n");
    assert_eq!(tailing.spool.lines(3).await, ["one", "two", "three"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_file_gives_up_its_last_line_only_if_told_to() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.idle_timeout = DurationText::from_secs(60);
    tailing.append("a.log", "one\ntwo");
    tailing.start();
    tailing.spool.lines(1).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(tailing.spool.bodies(), ["one"]);
    assert_eq!(tailing.spool.lines(2).await, ["one", "two"]);
    tailing.append("a.log", " and three\nfour\n");
    assert_eq!(tailing.spool.lines(4).await, ["one", "two", " and three", "four"]);
    tailing.stop().await;

    let tailing = Tailing::over("a.log");
    tailing.append("a.log", "one\ntwo");
    tailing.start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(tailing.spool.bodies(), ["one"]);
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_over_long_line_is_split_and_marked() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.max_line_length = ByteSize(8);
    tailing.spec.byte_offset_header = true;
    let content = "12345678\n12345678\r\n0123456789abcdefXYZ\nend\n";
    let expected = "[12345678][12345678][01234567][89abcdef][XYZ][end]";
    assert_eq!(events(&tailing, content.as_bytes(), 6).await, expected);
    let kept = tailing.spool.kept();
    let header = |line: usize, key: &str| kept.lines[line].headers.get(key).map(String::as_str);
    for (line, part, parts, offset) in [
        (0, None, None, "0"),
        (1, None, None, "9"),
        (2, Some("1"), None, "19"),
        (3, Some("2"), None, "19"),
        (4, Some("3"), Some("3"), "19"),
        (5, None, None, "39"),
    ] {
        assert_eq!(header(line, "line_part"), part, "line {line}");
        assert_eq!(header(line, "line_parts"), parts, "line {line}");
        assert_eq!(header(line, "byteoffset"), Some(offset), "line {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_over_long_line_is_not_cut_through_a_character() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.max_line_length = ByteSize(8);
    let content = "ééééé\n0123456\u{20ac}\n";
    let expected = "[éééé][é][0123456][\u{20ac}]";
    assert_eq!(events(&tailing, content.as_bytes(), 4).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_split_goes_on_across_a_restart() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.max_line_length = ByteSize(8);
    tailing.append("a.log", "0123456789abcdef...");
    tailing.start();
    tailing.spool.lines(2).await;
    tailing.kill().await;
    tailing.append("a.log", "!\nnext\n");
    tailing.start();
    let lines = tailing.spool.lines(4).await;
    assert_eq!(lines, ["01234567", "89abcdef", "...!", "next"]);
    assert_eq!(tailing.spool.kept().lines[2].headers["line_part"], "3");
    assert_eq!(tailing.spool.kept().lines[2].headers["line_parts"], "3");
    tailing.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_over_long_line_can_be_a_dead_letter() {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.max_line_length = ByteSize(8);
    tailing.spec.over_long = OverLong::DeadLetter;
    assert_eq!(events(&tailing, b"a\n0123456789abcdefXYZ\nb\n", 2).await, "[a][b]");
    let kept = tailing.spool.kept();
    let (letter, reason) = &kept.letters[0];
    assert_eq!(letter.body, "01234567");
    assert_eq!(letter.headers["byteoffset"], "2");
    assert!(letter.headers["file"].ends_with("/a.log"));
    assert_eq!(reason, "line of 20 bytes is longer than 8, this is its beginning");
    assert_eq!(kept.letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_of_the_largest_size_fits_and_one_of_many_times_that_does_not_stall() {
    let tailing = Tailing::over("a.log");
    let max = 1024 * 1024;
    let mut content = vec![b'x'; max];
    content.push(b'\n');
    content.extend(vec![b'y'; 5 * max + 17]);
    content.extend_from_slice(b"\nend\n");
    tailing.append("a.log", &content);
    tailing.start();
    let lines = tailing.spool.lines(8).await;
    let lengths: Vec<usize> = lines.iter().map(String::len).collect();
    assert_eq!(lengths, [max, max, max, max, max, max, 17, 3]);
    tailing.stop().await;
}

fn multiline(pattern: &str, negate: bool, what: MultilineWhat) -> Tailing {
    let mut tailing = Tailing::over("a.log");
    tailing.spec.multiline =
        Some(Multiline { pattern: pattern.to_owned(), negate, what, ..Multiline::default() });
    tailing
}

#[tokio::test(start_paused = true)]
async fn lines_are_joined_to_the_one_before() {
    let content = b"one\n  at a\n  at b\r\ntwo\nthree\n  at c\n";
    let expected = "[one\n  at a\n  at b][two][three\n  at c]";
    let tailing = multiline(r"^\s", false, MultilineWhat::Previous);
    assert_eq!(events(&tailing, content, 3).await, expected);
    let tailing = multiline(r"^\S", true, MultilineWhat::Previous);
    assert_eq!(events(&tailing, content, 3).await, expected);
}

#[tokio::test(start_paused = true)]
async fn lines_are_joined_to_the_one_after() {
    let tailing = multiline(r"\\$", false, MultilineWhat::Next);
    let content = b"a \\\nb \\\nc\nd\n";
    assert_eq!(events(&tailing, content, 2).await, "[a \\\nb \\\nc][d]");
}

#[tokio::test(start_paused = true)]
async fn a_joined_event_is_complete_after_a_while_or_enough_lines() {
    let mut tailing = multiline(r"^ ", false, MultilineWhat::Previous);
    tailing.append("a.log", "one\n 1\n");
    tailing.start();
    tokio::time::sleep(Duration::from_secs(4)).await;
    tailing.append("a.log", " 2\n");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(tailing.spool.bodies().len(), 0, "each line begins the wait anew");
    assert_eq!(tailing.spool.lines(1).await, ["one\n 1\n 2"]);
    tailing.append("a.log", " 3\nhalf");
    assert_eq!(tailing.spool.lines(2).await, ["one\n 1\n 2", " 3"]);
    tailing.stop().await;

    tailing = multiline(r"^ ", false, MultilineWhat::Previous);
    tailing.spec.multiline.as_mut().unwrap().max_lines = 2;
    assert_eq!(events(&tailing, b"one\n 1\n 2\n 3\ntwo\n", 3).await, "[one\n 1][ 2\n 3][two]");
}

#[tokio::test(start_paused = true)]
async fn a_joined_event_stays_within_the_longest_body() {
    let mut tailing = multiline(r"^ ", false, MultilineWhat::Previous);
    tailing.spec.max_line_length = ByteSize(8);
    let content = b"abc\n de\n fgh\n 0123456789\nx\n";
    let expected = "[abc\n de][ fgh][ 0123456][789][x]";
    assert_eq!(events(&tailing, content, 5).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_joined_event_survives_a_kill_while_it_waits() {
    let tailing = multiline(r"^ ", false, MultilineWhat::Previous);
    tailing.append("a.log", "zero\none\n 1\n");
    tailing.start();
    tailing.spool.lines(1).await;
    tailing.kill().await;
    tailing.append("a.log", " 2\ntwo\n");
    tailing.start();
    assert_eq!(tailing.spool.lines(3).await, ["zero", "one\n 1\n 2", "two"]);
    tailing.stop().await;
}
