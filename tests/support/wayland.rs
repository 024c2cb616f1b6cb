//! The other end of a Wayland connection, for what no compositor at hand serves: one output, and
//! ext-image-copy-capture-v1 and wlr-export-dmabuf-unstable-v1 if they are asked for, by a script.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// The only output.
pub const OUTPUT: &str = "SCRIPT-1";

/// What is said of a frame in a buffer of the compositor's.
#[derive(Default)]
pub struct Export {
    /// Width and height, offsets, flags of the buffer and the frame, format, modifier, objects.
    pub head: Option<[u32; 10]>,
    /// Each with its index, length, offset, stride and plane.
    pub objects: Vec<(Arc<File>, [u32; 5])>,
    pub is_ready: bool,
    /// Why it is taken back.
    pub cancel: Option<u32>,
}

/// What is done with a frame that a client asks for.
pub enum Step {
    /// It is exported.
    Export(Export),
    /// Every pixel becomes this one.
    Fill([u8; 4]),
    /// Buffers are to be of another size from now on, so this frame fails.
    Resize(u32, u32),
    /// There are no more frames.
    Stop,
    /// What is in buffers is turned like this from now on, as `wl_output.transform` has it, and this
    /// frame fails.
    Turn(u32),
}

/// Which interface an object has, and what is known of it.
enum Object {
    Buffer { offset: u32, len: u32 },
    CopyCapture,
    Exporter,
    Frame { session: u32, buffer: u32 },
    Other,
    Pool,
    Registry,
    Session,
    Shm,
    Sources,
}

struct Server {
    stream: UnixStream,
    globals: &'static [&'static str],
    objects: HashMap<u32, Object>,
    memory: Option<File>,
    steps: Vec<Step>,
    size: (u32, u32),
    transform: u32,
}

/// Serves the first client at a socket with these globals, and with these steps in turn.
pub fn serve(
    socket: &Path,
    globals: &'static [&'static str],
    size: (u32, u32),
    mut steps: Vec<Step>,
) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    steps.reverse();
    let run = move || {
        let (stream, _) = listener.accept().unwrap();
        let objects = HashMap::new();
        let (memory, transform) = (None, 0);
        let mut server = Server { stream, globals, objects, memory, steps, size, transform };
        let mut bytes = Vec::new();
        while server.receive(&mut bytes).is_ok_and(|len| len > 0) {
            while bytes.len() >= 8 {
                let head = word(&bytes, 4);
                let len = (head >> 16) as usize;
                if bytes.len() < len {
                    break;
                }
                let message: Vec<u8> = bytes.drain(..len).collect();
                server.handle(word(&message, 0), head & 0xffff, &message[8..]);
            }
        }
    };
    Builder::new().spawn(run).unwrap()
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn message(object: u32, opcode: u32, words: &[u32]) -> Vec<u8> {
    let len = 8 + 4 * words.len() as u32;
    let words = [object, len << 16 | opcode].into_iter().chain(words.iter().copied());
    words.flat_map(u32::to_ne_bytes).collect()
}

/// A string of the wire.
fn string(text: &str) -> Vec<u32> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    let len = bytes.len() as u32;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let words = bytes.as_chunks::<4>().0.iter().map(|it| u32::from_ne_bytes(*it));
    std::iter::once(len).chain(words).collect()
}

impl Server {
    /// Reads what there is, and a descriptor that came with it.
    fn receive(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let (mut buffer, mut control) = ([0_u8; 4096], [0_u64; 16]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a struct of numbers and pointers, for which zeros are nothing.
        let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
        (head.msg_iov, head.msg_iovlen) = (&raw mut part, 1);
        (head.msg_control, head.msg_controllen) =
            (control.as_mut_ptr().cast(), size_of_val(&control) as _);
        // SAFETY: the buffers that the head points to outlive the call and are as long as it says.
        let len = unsafe { libc::recvmsg(self.stream.as_raw_fd(), &raw mut head, 0) };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the head is as the kernel left it.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const head) };
        if !first.is_null() {
            // SAFETY: clients of Wayland send descriptors, here one at a time, and nobody else has it.
            let file = unsafe {
                OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<i32>().read_unaligned())
            };
            self.memory = Some(File::from(file));
        }
        bytes.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    fn event(&mut self, object: u32, opcode: u32, words: &[u32]) {
        // A client may leave when it likes.
        let _ = self.stream.write_all(&message(object, opcode, words));
    }

    /// An event with a descriptor.
    fn event_with(&mut self, object: u32, opcode: u32, words: &[u32], file: &File) {
        let (bytes, mut control) = (message(object, opcode, words), [0_u64; 4]);
        let mut part =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: a struct of numbers and pointers, for which zeros are nothing.
        let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
        (head.msg_iov, head.msg_iovlen) = (&raw mut part, 1);
        // SAFETY: arithmetic alone.
        let (space, len) = unsafe { (libc::CMSG_SPACE(4), libc::CMSG_LEN(4)) };
        (head.msg_control, head.msg_controllen) = (control.as_mut_ptr().cast(), space as _);
        // SAFETY: there is room for a head and a descriptor, as the lengths say; the buffers that the
        // head points to outlive the calls.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const head);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = len as _;
            libc::CMSG_DATA(first).cast::<i32>().write_unaligned(file.as_raw_fd());
            // A client may leave when it likes.
            libc::sendmsg(self.stream.as_raw_fd(), &raw const head, libc::MSG_NOSIGNAL);
        }
    }

    fn handle(&mut self, id: u32, opcode: u32, rest: &[u8]) {
        let argument = |index: usize| word(rest, 4 * index);
        if id == 1 {
            let new = argument(0);
            if opcode == 0 {
                return self.event(new, 0, &[0]);
            }
            self.objects.insert(new, Object::Registry);
            for (name, interface) in (1..).zip(self.globals) {
                let version = if *interface == "wl_output" { 4 } else { 1 };
                let words = [vec![name], string(interface), vec![version]].concat();
                self.event(new, 0, &words);
            }
            return;
        }
        let (new, object) = match (self.objects.get_mut(&id), opcode) {
            (Some(Object::Registry), 0) => {
                let interface = self.globals[argument(0) as usize - 1];
                let new = word(rest, rest.len() - 4);
                match interface {
                    "ext_image_copy_capture_manager_v1" => (new, Object::CopyCapture),
                    "ext_output_image_capture_source_manager_v1" => (new, Object::Sources),
                    "wl_shm" => (new, Object::Shm),
                    "zwlr_export_dmabuf_manager_v1" => (new, Object::Exporter),
                    _ => {
                        let (width, height) = self.size;
                        self.event(new, 1, &[1, width, height, 60_000]);
                        self.event(new, 4, &string(OUTPUT));
                        self.event(new, 2, &[]);
                        (new, Object::Other)
                    }
                }
            }
            (Some(Object::Shm), 0) => (argument(0), Object::Pool),
            (Some(Object::Pool), 0) => {
                let len = argument(4) * argument(3);
                (argument(0), Object::Buffer { offset: argument(1), len })
            }
            (Some(Object::Sources), 0) => (argument(0), Object::Other),
            (Some(Object::CopyCapture), 0) => {
                assert_eq!(argument(2), 1, "the pointer is in the picture");
                self.tell_shape(argument(0));
                (argument(0), Object::Session)
            }
            (Some(Object::Exporter), 0) => {
                assert_eq!(argument(1), 1, "the pointer is in the picture");
                return self.export(argument(0));
            }
            (Some(Object::Session), 0) => (argument(0), Object::Frame { session: id, buffer: 0 }),
            (Some(Object::Frame { buffer, .. }), 1) => {
                *buffer = argument(0);
                return;
            }
            (Some(Object::Frame { session, buffer }), 3) => {
                let (session, buffer) = (*session, *buffer);
                return self.capture(id, session, buffer);
            }
            _ => return,
        };
        self.objects.insert(new, object);
    }

    fn tell_shape(&mut self, session: u32) {
        let (width, height) = self.size;
        self.event(session, 0, &[width, height]);
        // RG24, of which nothing is made here, and XB24.
        self.event(session, 1, &[0x3432_4752]);
        self.event(session, 1, &[0x3432_4258]);
        self.event(session, 4, &[]);
    }

    fn export(&mut self, frame: u32) {
        let export = match self.steps.pop() {
            // Nothing changes any more.
            None => return,
            Some(Step::Export(export)) => export,
            Some(_) => panic!("a frame is asked for that is not exported"),
        };
        if let Some(words) = export.head {
            self.event(frame, 0, &words);
        }
        for (file, words) in &export.objects {
            self.event_with(frame, 1, words, file);
        }
        if export.is_ready {
            self.event(frame, 2, &[0, 0, 0]);
        }
        if let Some(reason) = export.cancel {
            self.event(frame, 3, &[reason]);
        }
    }

    fn capture(&mut self, frame: u32, session: u32, buffer: u32) {
        match self.steps.pop() {
            // Nothing changes any more.
            None => {}
            Some(Step::Export(_)) => panic!("a frame to be exported is not asked for"),
            Some(Step::Fill(pixel)) => {
                let Some(Object::Buffer { offset, len }) = self.objects.get(&buffer) else {
                    panic!("no buffer")
                };
                let memory = self.memory.as_ref().unwrap();
                let pixels = pixel.repeat(*len as usize / 4);
                memory.write_all_at(&pixels, (*offset).into()).unwrap();
                self.event(frame, 0, &[self.transform]);
                self.event(frame, 3, &[]);
            }
            Some(Step::Resize(width, height)) => {
                self.size = (width, height);
                self.tell_shape(session);
                self.event(frame, 4, &[1]);
            }
            Some(Step::Stop) => self.event(session, 5, &[]),
            Some(Step::Turn(transform)) => {
                self.transform = transform;
                self.event(frame, 4, &[0]);
            }
        }
    }
}
