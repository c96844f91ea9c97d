//! Values of TCP's header, for those who read it out of a packet's bytes.

/// The control bits (RFC 9293 section 3.1).
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronizes the sequence numbers: opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// Pushes data to the receiver.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
}

/// Kinds of options, by their IANA numbers, as far as tcpdump knows them.
pub mod option {
    /// End of the list (RFC 9293 section 3.2).
    pub const END: u8 = 0;
    /// No operation (RFC 9293 section 3.2).
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293 section 3.2).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 section 2.2).
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgments are permitted (RFC 2018 section 2).
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgment (RFC 2018 section 3).
    pub const SACK: u8 = 5;
    /// Echo (RFC 1072, obsolete).
    pub const ECHO: u8 = 6;
    /// Echo reply (RFC 1072, obsolete).
    pub const ECHO_REPLY: u8 = 7;
    /// Timestamps (RFC 7323 section 3.2).
    pub const TIMESTAMPS: u8 = 8;
    /// Connection count (RFC 1644, obsolete).
    pub const CC: u8 = 11;
    /// A new connection count (RFC 1644, obsolete).
    pub const CC_NEW: u8 = 12;
    /// The echo of a connection count (RFC 1644, obsolete).
    pub const CC_ECHO: u8 = 13;
    /// MD5 signature (RFC 2385).
    pub const MD5: u8 = 19;
    /// Capabilities of the Space Communications Protocol Specifications.
    pub const SCPS: u8 = 20;
    /// User timeout (RFC 5482).
    pub const USER_TIMEOUT: u8 = 28;
    /// Authentication, TCP-AO (RFC 5925).
    pub const AUTHENTICATION: u8 = 29;
    /// Multipath TCP (RFC 8684).
    pub const MULTIPATH: u8 = 30;
    /// Fast Open cookie (RFC 7413).
    pub const FAST_OPEN: u8 = 34;
    /// The second kind for experiments (RFC 4727, RFC 6994).
    pub const EXPERIMENT_2: u8 = 254;
}
