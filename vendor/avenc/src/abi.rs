//! The constants and structs of `include/avenc.h`, which explains them.

#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "the header has them")]
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int};

pub const AVENC_ABI: u32 = 1;

pub const AVENC_H264: u32 = 0;
pub const AVENC_HEVC: u32 = 1;
pub const AVENC_AV1: u32 = 2;

pub const AVENC_SOFTWARE: u32 = 0;
pub const AVENC_NVENC: u32 = 1;
pub const AVENC_VAAPI: u32 = 2;
pub const AVENC_VULKAN: u32 = 3;
pub const AVENC_V4L2: u32 = 4;

pub const AVENC_I420: u32 = 0;
pub const AVENC_I420P10: u32 = 1;
pub const AVENC_NV12: u32 = 2;
pub const AVENC_P010: u32 = 3;

pub const AVENC_BT601: u32 = 0;
pub const AVENC_BT709: u32 = 1;
pub const AVENC_BT2020: u32 = 2;
pub const AVENC_BT2020_PQ: u32 = 3;

pub const AVENC_FASTEST: u32 = 0;
pub const AVENC_BALANCED: u32 = 1;
pub const AVENC_BEST: u32 = 2;

pub const AVENC_CAN_ENCODE: u32 = 1;
pub const AVENC_CAN_10_BIT: u32 = 2;
pub const AVENC_CAN_INVALIDATE: u32 = 4;
pub const AVENC_CAN_SET_BITRATE: u32 = 8;

pub const AVENC_OK: c_int = 0;
pub const AVENC_NOT_NOW: c_int = 1;
pub const AVENC_E_ARGUMENT: c_int = -1;
pub const AVENC_E_MISSING: c_int = -2;
pub const AVENC_E_FAILED: c_int = -3;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct avenc_config {
    pub struct_size: u32,
    pub codec: u32,
    pub backend: u32,
    pub space: u32,
    pub quality: u32,
    pub width: u32,
    pub height: u32,
    pub refresh_mhz: u32,
    pub bitrate_kbps: u32,
    pub frame_len_max: u32,
    pub slice_count: u32,
    pub reference_count_max: u32,
    pub bit_depth: u32,
    pub full_range: u32,
    pub thread_count: u32,
    pub device: *const c_char,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct avenc_picture {
    pub struct_size: u32,
    pub planes: [*const u8; 3],
    pub strides: [u32; 3],
    pub number: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct avenc_unit {
    pub struct_size: u32,
    pub bytes: *const u8,
    pub len: usize,
    pub number: u64,
    pub is_idr: u32,
    pub heals: u32,
}
