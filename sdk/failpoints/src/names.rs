//! The names, each once.

/// Names a few things, and lists them.
macro_rules! names {
    ($(#[$doc:meta])* $list:ident { $($(#[$of:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $list { $($(#[$of])* $variant,)* }

        impl $list {
            /// All of them.
            pub const ALL: &[$list] = &[$($list::$variant,)*];

            /// Its name in the environment.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($list::$variant => $name,)* }
            }

            /// What has that name.
            ///
            /// # Errors
            ///
            /// A sentence with all names, if nothing has it.
            pub fn named(name: &str) -> Result<$list, String> {
                let found = Self::ALL.iter().find(|it| it.name() == name);
                found.copied().ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|it| it.name()).collect();
                    format!("{name:?} is none of {}", known.join(", "))
                })
            }
        }
    };
}

names! {
    /// A step on the way of an event, or of a node that starts.
    Step {
        /// A put into a shard, from its admission to its receipt.
        Put = "put",
        /// A group commit of a log, that of Raft too: one write and one sync.
        Flush = "flush",
        /// Lineages of an earlier process or version are sealed.
        Seal = "seal",
        /// A lineage is opened for writing.
        Open = "open",
        /// A drain token is granted.
        Acquire = "acquire",
        /// A staging directory of an earlier token is taken away.
        Fence = "fence",
        /// A directory is made, of staging or of finals.
        Mkdir = "mkdir",
        /// A file is created in staging.
        Create = "create",
        /// Bytes are appended to a file in staging.
        Write = "write",
        /// A file in staging is closed durably.
        Close = "close",
        /// Files are announced to the ledger.
        Intent = "intent",
        /// A file gets its final name.
        Rename = "rename",
        /// Final files are told to the ledger.
        Commit = "commit",
        /// The floor of a ledger is raised.
        Floor = "floor",
        /// A segment that nobody needs is freed.
        Trim = "trim",
        /// A snapshot of the replicated state is written.
        Snapshot = "snapshot",
    }
}

names! {
    /// On which side of a step.
    Side {
        /// Nothing of it has happened.
        Before = "before",
        /// All of it has happened, and nobody knows.
        After = "after",
    }
}

names! {
    /// A deliberate bug.
    Mutant {
        /// Appends are answered before their flush is synced.
        AckBeforeFsync = "ack-before-fsync",
        /// A sync that failed is tried again, and believed then.
        RetryFsync = "retry-fsync",
        /// A bad record cuts the log, in whichever flush it stands.
        CutEarlierFlush = "cut-earlier-flush",
        /// Checksums of records are not compared.
        IgnoreCrc = "ignore-crc",
        /// A segment counts as named before its directory is synced.
        SkipDirectorySync = "skip-directory-sync",
        /// Records behind the end of a sealed lineage are copied forward.
        CopyVoid = "copy-void",
        /// A start begins with an empty admission table.
        ForgetAdmission = "forget-admission",
        /// Readers see what is not durable yet.
        PassWatermark = "pass-watermark",
        /// Each token's staging directory has the name of the one before.
        ReuseToken = "reuse-token",
        /// Earlier tokens' staging directories count as fenced and are not.
        SkipFence = "skip-fence",
        /// A file is created with the directories that it lacks.
        CreateParent = "create-parent",
        /// A file gets its final name without having been closed.
        RenameBeforeClose = "rename-before-close",
        /// A file gets its final name before the ledger has its Intent.
        SkipIntent = "skip-intent",
        /// A rename replaces what has the name.
        OverwriteOnRename = "overwrite-on-rename",
        /// A final counts before its name is durable.
        CommitBeforeDurable = "commit-before-durable",
        /// The floor passes files that are not final.
        FloorPastOpen = "floor-past-open",
        /// What a bucket has recorded is read again all the same.
        ForgetRecorded = "forget-recorded",
    }
}
