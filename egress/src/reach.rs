//! Which addresses a call may connect to: those that were decided, less what is never somebody else's.

use contract::perform::AddressRange;
use std::net::IpAddr;

/// Where a call may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    /// What the policy left, for this call.
    pub(crate) decided: &'a [AddressRange],
    /// The box's own addresses; none while they are not known.
    pub(crate) own: &'a [IpAddr],
}

impl Reach<'_> {
    /// Whether a connection to this address may be opened.
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let nobody = address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !nobody
            && !self.own.is_empty()
            && !self.own.iter().any(|own| own.to_canonical() == address)
            && self.decided.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_what_was_decided_and_never_the_box_itself() {
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = [
            AddressRange { first: of("0.0.0.0"), last: of("255.255.255.255") },
            AddressRange { first: of("::"), last: of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") },
        ];
        let some = [AddressRange { first: of("192.0.2.0"), last: of("192.0.2.7") }];
        let own = [of("192.0.2.5"), of("2001:db8::5")];
        let reach = |decided| Reach { decided, own: &own };
        for (address, everywhere, there) in [
            ("192.0.2.1", true, true),
            ("::ffff:192.0.2.1", true, true),
            ("192.0.2.8", true, false),
            ("2001:db8::1", true, false),
            ("192.0.2.5", false, false),
            ("::ffff:192.0.2.5", false, false),
            ("2001:db8::5", false, false),
            ("127.0.0.1", false, false),
            ("127.9.9.9", false, false),
            ("::1", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("ff02::1", false, false),
        ] {
            let of = of(address);
            let found = (reach(&all).admits(of), reach(&some).admits(of), reach(&[]).admits(of));
            assert_eq!(found, (everywhere, there, false), "{address}");
            assert!(!Reach { decided: &all, own: &[] }.admits(of), "it could be the box itself");
        }
    }
}
