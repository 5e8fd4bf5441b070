//! When and how the simulated disk fails: random numbers from a seed, countdowns, and a record of
//! what happened.

/// What goes wrong. Counts run down with each operation of their kind; at 0 it happens, once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Operations that change something until the power fails.
    pub power_off_in: Option<u64>,
    /// Writes until one fails.
    pub write_error_in: Option<u64>,
    /// Reads until one fails.
    pub read_error_in: Option<u64>,
    /// Most bytes that one read reads.
    pub short_reads: Option<usize>,
    /// Syncs until one fails.
    pub sync_error_in: Option<u64>,
    /// Most bytes that one write writes.
    pub short_writes: Option<usize>,
    /// Changes and syncs of names until one fails.
    pub name_error_in: Option<u64>,
    /// Bytes that all files together may have.
    pub room: Option<u64>,
    /// How many of the next files are not made, because too many are open.
    pub no_files: u64,
}

/// What went wrong so far: how often, or how many sectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Sectors that a power cut left as they were before they were written.
    pub dropped: u64,
    /// Sectors of which it kept a beginning.
    pub torn: u64,
    /// Sectors that it kept though one that was written before them was dropped.
    pub reordered: u64,
    /// Power cuts that took back a name, or gave one that was removed.
    pub names_lost: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// Changes or syncs of names that failed.
    pub name_errors: u64,
    /// Refusals for lack of space.
    pub full: u64,
    /// Files that were not made because too many are open.
    pub no_files: u64,
    /// Writes that wrote less than they were given.
    pub short_writes: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Reads that read less than there was.
    pub short_reads: u64,
}

/// Pseudo-random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit; 0 for none.
    pub const fn below(&mut self, limit: u64) -> u64 {
        match self.draw().checked_rem(limit) {
            Some(number) => number,
            None => 0,
        }
    }
}

/// Counts down; true when it is time.
pub const fn due(count: &mut Option<u64>) -> bool {
    match count {
        Some(0) => {
            *count = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}
