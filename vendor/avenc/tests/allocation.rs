//! Encoding takes no memory of this library's, however long it goes on.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

use avenc::*;
use support::*;

/// The system's allocator, which counts what a thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's, as it was asked.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as this function was.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as this function was.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn encoding_allocates_nothing() {
    let plane = vec![0x40u8; (WIDTH * HEIGHT) as usize];
    for codec in [AVENC_H264, AVENC_HEVC, AVENC_AV1] {
        let encoder = open(&config(codec)).unwrap();
        let mut unit = avenc_unit {
            struct_size: size_of::<avenc_unit>() as u32,
            bytes: ptr::null(),
            len: 0,
            number: 0,
            is_idr: 0,
            heals: 0,
        };
        let before = COUNT.get();

        for number in 0..100 {
            let picture = avenc_picture {
                struct_size: size_of::<avenc_picture>() as u32,
                planes: [plane.as_ptr(); 3],
                strides: [WIDTH; 3],
                number,
            };
            // SAFETY: open; planes and strides are large enough for any layout of 8 bits.
            unsafe {
                if number == 40 {
                    avenc_request_idr(encoder.pointer);
                }
                if number == 60 {
                    avenc_invalidate(encoder.pointer, 59, 59);
                }
                assert_eq!(avenc_submit(encoder.pointer, &picture), AVENC_OK);
                assert_eq!(avenc_poll(encoder.pointer, &mut unit), AVENC_OK);
            }
        }

        assert_eq!(COUNT.get() - before, 0, "{codec}");
    }
}
