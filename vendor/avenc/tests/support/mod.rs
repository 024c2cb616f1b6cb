//! What the tests share: an encoder by its C interface, pictures to give it, and FFmpeg's decoders.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::{CStr, c_char};
use std::ptr;

use avenc::*;
use ffmpeg_sys_next as ffmpeg;

pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 240;

/// A configuration for small pictures, to be changed by the tests.
pub fn config(codec: u32) -> avenc_config {
    avenc_config {
        struct_size: size_of::<avenc_config>() as u32,
        codec,
        backend: AVENC_SOFTWARE,
        space: AVENC_BT709,
        quality: AVENC_FASTEST,
        width: WIDTH,
        height: HEIGHT,
        refresh_mhz: 60_000,
        bitrate_kbps: 4_000,
        frame_len_max: 0,
        slice_count: 1,
        reference_count_max: 0,
        bit_depth: 8,
        full_range: 0,
        thread_count: 2,
        device: ptr::null(),
    }
}

/// A unit, out of the encoder's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    pub bytes: Vec<u8>,
    pub number: u64,
    pub is_idr: bool,
    pub heals: bool,
}

/// An open encoder.
pub struct Encoder {
    pub pointer: *mut avenc_encoder,
    width: u32,
    height: u32,
    next: u64,
}

/// Opens an encoder, or says why not.
pub fn open(config: &avenc_config) -> Result<Encoder, (i32, String)> {
    let mut pointer = ptr::null_mut();
    let mut why = [0 as c_char; 256];
    // SAFETY: everything lives until the call returns, and is as long as is said.
    let code = unsafe { avenc_open(config, &mut pointer, why.as_mut_ptr(), why.len()) };
    if code != AVENC_OK {
        assert!(pointer.is_null());
        // SAFETY: the library ends it.
        let why = unsafe { CStr::from_ptr(why.as_ptr()) };
        return Err((code, why.to_str().unwrap().to_owned()));
    }
    Ok(Encoder { pointer, width: config.width, height: config.height, next: 0 })
}

impl Encoder {
    pub fn layout(&self) -> u32 {
        // SAFETY: open.
        unsafe { avenc_layout(self.pointer) }
    }

    pub fn error(&self) -> String {
        // SAFETY: open; the text ends and is copied before the next call.
        unsafe { CStr::from_ptr(avenc_error(self.pointer)) }.to_str().unwrap().to_owned()
    }

    /// Encodes the next picture of [`source`], and has its unit.
    pub fn encode(&mut self) -> Owned {
        let picture = source(self.width, self.height, self.next);
        self.encode_picture(&picture)
    }

    /// Encodes a picture: planes of an I420 one, of 8 bits.
    pub fn encode_picture(&mut self, picture: &[Vec<u8>; 3]) -> Owned {
        let planes = laid_out(picture, self.layout());
        let row_len = planes[0].len() as u32 / self.height;
        let chroma_row_len = match self.layout() {
            AVENC_I420 | AVENC_I420P10 => row_len / 2,
            _ => row_len,
        };
        let input = avenc_picture {
            struct_size: size_of::<avenc_picture>() as u32,
            planes: [0, 1, 2].map(|at: usize| planes.get(at).map_or(ptr::null(), |p| p.as_ptr())),
            strides: [row_len, chroma_row_len, chroma_row_len],
            number: self.next,
        };
        // SAFETY: open; the planes are as large as the layout has them.
        assert_eq!(unsafe { avenc_submit(self.pointer, &input) }, AVENC_OK, "{}", self.error());
        let unit = self.poll().expect("a unit for each picture");
        assert_eq!(unit.number, self.next);
        assert_eq!(self.poll(), None);
        self.next += 1;
        unit
    }

    pub fn poll(&mut self) -> Option<Owned> {
        let mut unit = avenc_unit {
            struct_size: size_of::<avenc_unit>() as u32,
            bytes: ptr::null(),
            len: 0,
            number: 0,
            is_idr: 0,
            heals: 0,
        };
        // SAFETY: open.
        match unsafe { avenc_poll(self.pointer, &mut unit) } {
            AVENC_OK => Some(Owned {
                // SAFETY: the encoder's until the next call.
                bytes: unsafe { std::slice::from_raw_parts(unit.bytes, unit.len) }.to_vec(),
                number: unit.number,
                is_idr: unit.is_idr == 1,
                heals: unit.heals == 1,
            }),
            AVENC_NOT_NOW => None,
            code => panic!("{code}: {}", self.error()),
        }
    }

    pub fn request_idr(&mut self) {
        // SAFETY: open.
        unsafe { avenc_request_idr(self.pointer) };
    }

    pub fn invalidate(&mut self, first: u64, last: u64) -> i32 {
        // SAFETY: open.
        unsafe { avenc_invalidate(self.pointer, first, last) }
    }

    pub fn set_bitrate(&mut self, kbps: u32) -> i32 {
        // SAFETY: open.
        unsafe { avenc_set_bitrate(self.pointer, kbps, 0) }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: open until here.
        unsafe { avenc_close(self.pointer) };
    }
}

/// Planes of an I420 picture: a gradient that moves, a box that moves faster, and some grain.
pub fn source(width: u32, height: u32, number: u64) -> [Vec<u8>; 3] {
    let mut state = number as u32 * 77 + 1;
    let t = number as u32;
    let (box_x, box_y) = (t * 5 % width, t * 3 % height);
    let mut luma = Vec::with_capacity((width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = state >> 30;
            let is_box = (box_x..box_x + 16).contains(&x) && (box_y..box_y + 8).contains(&y);
            let value = if is_box { 220 } else { 32 + (x + 2 * y + t) / 4 % 160 };
            luma.push((value + grain) as u8);
        }
    }
    let chroma = |shift: u32| {
        let pixels = (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (x, y)));
        pixels.map(|(x, y)| (90 + (x + y + t * shift) / 4 % 70) as u8).collect()
    };
    [luma, chroma(1), chroma(2)]
}

/// A picture in a layout of the library's.
fn laid_out(picture: &[Vec<u8>; 3], layout: u32) -> Vec<Vec<u8>> {
    let [luma, blue, red] = picture;
    let pairs = || blue.iter().zip(red).flat_map(|(b, r)| [*b, *r]).collect::<Vec<u8>>();
    let words = |plane: &[u8], shift: u32| {
        plane.iter().flat_map(|byte| (u16::from(*byte) << shift).to_le_bytes()).collect()
    };
    match layout {
        AVENC_I420 => picture.to_vec(),
        AVENC_I420P10 => picture.iter().map(|plane| words(plane, 2)).collect(),
        AVENC_NV12 => vec![luma.clone(), pairs()],
        AVENC_P010 => vec![words(luma, 8), words(&pairs(), 8)],
        layout => panic!("layout {layout}"),
    }
}

/// A picture as it comes out of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Luma, of 8 bits.
    pub luma: Vec<u8>,
    /// Primaries, transfer, matrix.
    pub description: (u32, u32, u32),
    pub is_full_range: bool,
}

/// One of FFmpeg's decoders, as patient as the stream asks for: it shows pictures at once only where
/// the stream says that none are reordered.
pub struct Decoder {
    context: *mut ffmpeg::AVCodecContext,
    frame: *mut ffmpeg::AVFrame,
}

impl Decoder {
    pub fn open(codec: u32) -> Decoder {
        let name = match codec {
            AVENC_H264 => c"h264",
            AVENC_HEVC => c"hevc",
            _ => c"libdav1d",
        };
        // SAFETY: a name that ends, then what the functions before returned.
        unsafe {
            let decoder = ffmpeg::avcodec_find_decoder_by_name(name.as_ptr());
            assert!(!decoder.is_null(), "{name:?}");
            let context = ffmpeg::avcodec_alloc_context3(decoder);
            (*context).thread_count = 1;
            assert!(ffmpeg::avcodec_open2(context, decoder, ptr::null_mut()) >= 0);
            Decoder { context, frame: ffmpeg::av_frame_alloc() }
        }
    }

    /// The picture of a unit, which comes at once, or nothing where the decoder made none.
    pub fn decode(&mut self, unit: &[u8]) -> Option<Decoded> {
        // SAFETY: context and frame are live; the packet is as long as the unit, and padded.
        unsafe {
            let packet = ffmpeg::av_packet_alloc();
            assert!(ffmpeg::av_new_packet(packet, unit.len() as i32) >= 0);
            ptr::copy_nonoverlapping(unit.as_ptr(), (*packet).data, unit.len());
            let mut given = packet;
            let code = ffmpeg::avcodec_send_packet(self.context, packet);
            ffmpeg::av_packet_free(&mut given);
            assert!(code >= 0, "a unit that cannot be decoded: {code}");
            self.receive()
        }
    }

    /// Pictures that the stream says it refers to.
    pub fn reference_count(&self) -> u32 {
        // SAFETY: live.
        unsafe { (*self.context).refs as u32 }
    }

    /// The level that the stream says it is of, times ten.
    pub fn level(&self) -> i32 {
        // SAFETY: live.
        unsafe { (*self.context).level }
    }

    unsafe fn receive(&mut self) -> Option<Decoded> {
        // SAFETY: context and frame are live; planes are as large as the frame says.
        unsafe {
            if ffmpeg::avcodec_receive_frame(self.context, self.frame) < 0 {
                return None;
            }
            let frame = &*self.frame;
            let is_10_bit = frame.format == ffmpeg::AVPixelFormat::AV_PIX_FMT_YUV420P10LE as i32;
            let mut luma = Vec::new();
            for y in 0..frame.height as usize {
                let row = frame.data[0].add(y * frame.linesize[0] as usize);
                luma.extend((0..frame.width as usize).map(|x| match is_10_bit {
                    true => (row.cast::<u16>().add(x).read() >> 2) as u8,
                    false => row.add(x).read(),
                }));
            }
            Some(Decoded {
                luma,
                description: (
                    frame.color_primaries as u32,
                    frame.color_trc as u32,
                    frame.colorspace as u32,
                ),
                is_full_range: frame.color_range == ffmpeg::AVColorRange::AVCOL_RANGE_JPEG,
            })
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: live until here.
        unsafe {
            ffmpeg::av_frame_free(&mut self.frame);
            ffmpeg::avcodec_free_context(&mut self.context);
        }
    }
}

/// Peak signal-to-noise ratio of two planes, in dB.
pub fn psnr(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let square = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b)).powi(2);
    let error: f64 = one.iter().zip(other).map(square).sum::<f64>() / one.len() as f64;
    10.0 * (255.0 * 255.0 / error.max(1e-9)).log10()
}
