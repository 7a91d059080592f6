//! One file with many mistakes: each is named, none hides another.

use expect_test::expect;

use crate::problems;

#[test]
fn five_mistakes_are_five_answers() {
    let text = r#"[flow.web.sources.edge]
type = "colector"
channels = ["main"]
[flow.web.channels.main]
type = "durable"
capacity = "20 GiBs"
[flow.web.sinks.out]
type = "files"
channel = "mian"
path = "/var/lib/collector/web/%Y"
roll_intervall = "30s"
round = { value = 61, unit = "minute" }
"#;
    expect![[r#"
        error: unknown type: `colector`
         --> flow.toml:2:8
          |
        2 | type = "colector"
          |        ^^^^^^^^^^ in `flow.web.sources.edge`
          |
          = help: did you mean `collector`?

        error: `GiBs` is not a unit of size
         --> flow.toml:6:12
          |
        6 | capacity = "20 GiBs"
          |            ^^^^^^^^^ in `flow.web.channels.main`
          |
          = help: the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB

        error: there is no channel `mian`
         --> flow.toml:9:11
          |
        9 | channel = "mian"
          |           ^^^^^^ in `flow.web.sinks.out`
          |
          = help: did you mean `main`?

        error: unknown key `roll_intervall`
          --> flow.toml:11:1
           |
        11 | roll_intervall = "30s"
           | ^^^^^^^^^^^^^^ in `flow.web.sinks.out`
           |
           = help: did you mean `roll_interval`?

        error: cannot round to 61 minutes
          --> flow.toml:12:19
           |
        12 | round = { value = 61, unit = "minute" }
           |                   ^^ in `flow.web.sinks.out.round`
           |
           = help: 1 to 60
    "#]]
    .assert_eq(&problems(text));
}

#[test]
fn mistakes_in_the_syntax_hide_no_others() {
    let text = r#"[node]
data_dir = /var/lib/collector
[flow.web.sources.edge]
type = "collector"
channels = ["main"]
interceptors = ["when", "wehn"]
[flow.web.interceptors.when]
type = "regex_extractor"
regex = "\[(.*?)\]"
serializers = { timestamp = { type = "milis", patern = "yyyy-MM-dd" } }
[flow.web.channel.main]
type = "durable"
[flow.web.sinks.out]
type = "hdfs"
channel = "main"
path = "/data/%Y
roll_size = 1024
codec = { type = "gzip", level = 12 }
codec = "zstd"
"#;
    expect![[r#"
        error: text, sizes and durations stand in quotes
         --> flow.toml:2:12
          |
        2 | data_dir = /var/lib/collector
          |            ^^^^^^^^^^^^^^^^^^ in `node`
          |
          = help: write `"/var/lib/collector"`

        error: there is no interceptor `wehn`
         --> flow.toml:6:25
          |
        6 | interceptors = ["when", "wehn"]
          |                         ^^^^^^ in `flow.web.sources.edge.interceptors`
          |
          = help: did you mean `when`?

        error: the backslash begins no escape
         --> flow.toml:9:11
          |
        9 | regex = "\[(.*?)\]"
          |           ^ in `flow.web.interceptors.when`
          |
          = help: write text with backslashes in single quotes: `'\d+'`

        error: unknown value for `type`: `milis`
          --> flow.toml:10:38
           |
        10 | serializers = { timestamp = { type = "milis", patern = "yyyy-MM-dd" } }
           |                                      ^^^^^^^ in `flow.web.interceptors.when.serializers.timestamp`
           |
           = help: did you mean `millis`?

        error: unknown key `patern`
          --> flow.toml:10:47
           |
        10 | serializers = { timestamp = { type = "milis", patern = "yyyy-MM-dd" } }
           |                                               ^^^^^^ in `flow.web.interceptors.when.serializers.timestamp`
           |
           = help: did you mean `pattern`?

        error: unknown key `channel`
          --> flow.toml:11:11
           |
        11 | [flow.web.channel.main]
           |           ^^^^^^^ in `flow.web`
           |
           = help: did you mean `channels`?

        error: unknown type: `hdfs`
          --> flow.toml:14:8
           |
        14 | type = "hdfs"
           |        ^^^^^^ in `flow.web.sinks.out`
           |
           = help: did you mean `files`?

        error: the text has no end
          --> flow.toml:16:17
           |
        16 | path = "/data/%Y
           |                 ^ in `flow.web.sinks.out`
           |
           = help: close the text with `"` on the same line

        error: a size has a unit
          --> flow.toml:17:13
           |
        17 | roll_size = 1024
           |             ^^^^ in `flow.web.sinks.out`
           |
           = help: write `"1024B"`, `"1024KiB"` or `"1024MiB"`

        error: `level` cannot be 12
          --> flow.toml:18:34
           |
        18 | codec = { type = "gzip", level = 12 }
           |                                  ^^ in `flow.web.sinks.out.codec`
           |
           = help: 1 (fast) to 9 (small)

        error: `codec` is written twice in this table
          --> flow.toml:19:1
           |
        19 | codec = "zstd"
           | ^^^^^
           |
           = help: remove one of the two
    "#]].assert_eq(&problems(text));
}

#[test]
fn broken_structure_says_where_and_nothing_else() {
    let text = r#"[flow.web.sources.edge]
type = "collector"
channels = ["main"
interceptors = []
[flow.web.channels.main]
tipe = 5
"#;
    expect![[r#"
        error: missing comma between array elements, expected `,`
         --> flow.toml:4:1
          |
        4 | interceptors = []
          | ^
          |
          = help: is the list before it closed with `]`?
    "#]]
    .assert_eq(&problems(text));
}
