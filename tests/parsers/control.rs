//! Messages of clients inside ENet, sealed and open, and the input among them.

use punktfunk_core::proto::gamestream::control::input::Packet;
use punktfunk_core::proto::gamestream::control::seal::{
    self, OVERHEAD_LEN, Opener, Scheme, Sealer,
};
use punktfunk_core::proto::gamestream::control::{ClientMessage, Gamepads};
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::hex;
use punktfunk_core::proto::input::{
    Fraction, GAMEPAD_COUNT_MAX, Gamepad, GamepadEvent, Input, Motion, Point, Pointer, TEXT_LEN_MAX,
};

/// Packets of input that a check looks at; each is as long as a byte says that stands before it.
const PACKET_COUNT_MAX: usize = 64;

const MESSAGES: [&str; 9] = [
    "020302000000",
    "0703010000",
    "000208000400000000000000",
    "01031800610000000000000060000000000000000000000000000000",
    "010318005f0000000000000060000000000000000000000000000000",
    "500308000500000000000000",
    "02551500000000010016000200010016000500150001140001",
    "06020e000000000a03000000004180000000",
    // Keyboard down, sealed as number 5.
    "010026000500000092f38e8f93fb76656748dcc32e25076ea7fe524c77fb16721ae18411b40704897787",
];
const PACKETS: [&str; 14] = [
    "0000000a0300000001dc80010000",
    "0000000e05000000006400c80000027f0167",
    "00000008070000000005fff9",
    "000000050800000001",
    "0000000a0a000000007800780000",
    "0000001e0c0000001a0000000100140000100a140100feff0300fcff9c0010005500",
    "0000000717000000e282ac",
    "00000006010000550078",
    "000000200200005501000000070000000000003f0000803f0000803e000000000000c07f",
    "0000002003000055010101000000003f0000803f0000803e2c015a000000000000000000",
    "0000000c0400005500020300fff73f00",
    "000000180500005500010001010203040000003f0000803f0000803e",
    "0000001406000055000100000000803f000000c00000807f",
    "000000080700005500033200",
];

fn bytes(text: &str) -> Vec<u8> {
    hex::parse(text).expect("seeds are hexadecimal")
}

fn rikey() -> Secret<16> {
    Secret::new(std::array::from_fn(|index| index as u8))
}

pub fn seeds() -> Vec<Vec<u8>> {
    MESSAGES.map(bytes).to_vec()
}

pub fn check(message: &[u8]) {
    if let Ok(ClientMessage::Invalidate { first, last }) = ClientMessage::parse(message) {
        assert!(first <= last);
    }
    let mut opener = Opener::new(Scheme::V2, &rikey());
    if let Ok(opened) = opener.open(&mut message.to_vec()) {
        assert_eq!(opened.len() + OVERHEAD_LEN, message.len());
        let _ = ClientMessage::parse(opened);
        assert_eq!(opener.open(&mut message.to_vec()), Err(seal::Error::Replay));
    }
    // The host's own are not taken from a client.
    if let Ok(mut packet) = Sealer::new(Scheme::V2, &rikey()).seal(message) {
        assert_eq!(opener.open(&mut packet), Err(seal::Error::Tag));
    }
}

pub fn input_seeds() -> Vec<Vec<u8>> {
    let packets = PACKETS.map(bytes).map(|packet| [&[packet.len() as u8], &packet[..]].concat());
    let session = packets.concat();
    packets.into_iter().chain([session]).collect()
}

pub fn check_input(mut bytes: &[u8]) {
    let mut gamepads = Gamepads::default();
    let mut present = [false; GAMEPAD_COUNT_MAX];
    for _ in 0..PACKET_COUNT_MAX {
        let Some((len, rest)) = bytes.split_first() else {
            return;
        };
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        bytes = rest;
        let Ok(packet) = Packet::parse(packet) else {
            continue;
        };
        let inputs: Vec<Input> = gamepads.handle(packet).collect();
        assert!(inputs.len() <= 2);
        for input in inputs {
            check_one(&input, &mut present);
        }
    }
}

fn check_one(input: &Input, present: &mut [bool; GAMEPAD_COUNT_MAX]) {
    match input {
        Input::Gamepad(gamepad) => check_gamepad(gamepad, present),
        Input::Key(event) => assert!((1..=0x2ff).contains(&event.key.0)),
        Input::Pen(pen) => {
            check_point(pen.at);
            assert!(pen.rotation_degrees.is_none_or(|degrees| degrees < 360));
            assert!(pen.tilt_degrees.is_none_or(|degrees| degrees <= 90));
        }
        Input::Pointer(Pointer::MoveTo { at, .. }) => check_point(*at),
        Input::Pointer(_) => {}
        Input::Text(text) => assert!((1..=TEXT_LEN_MAX).contains(&text.as_str().len())),
        Input::Touch(touch) => {
            check_point(touch.at);
            assert!(touch.rotation_degrees.is_none_or(|degrees| degrees < 360));
        }
    }
}

/// Who was not there does nothing, and who leaves was there.
fn check_gamepad(gamepad: &Gamepad, present: &mut [bool; GAMEPAD_COUNT_MAX]) {
    let present = &mut present[usize::from(gamepad.index.value())];
    match gamepad.event {
        GamepadEvent::Arrived(_) => *present = true,
        GamepadEvent::Left => assert!(std::mem::take(present)),
        event => {
            assert!(*present);
            if let GamepadEvent::Motion(Motion { sensor, axes }) = event {
                assert!(axes.iter().all(|axis| axis.abs() <= sensor.range()));
            }
        }
    }
}

fn check_point(point: Point) {
    let is_within = |fraction: Fraction| (0.0..=1.0).contains(&fraction.value());
    assert!(is_within(point.x) && is_within(point.y));
}
