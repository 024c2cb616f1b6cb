//! Memory is taken when a workspace is made, and never after.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fec16::{Code, Protector, Recoverer, TABLES_LEN, Workspace};

struct Counting;

const _: () = assert!(TABLES_LEN <= 600 * 1024);

thread_local! {
    /// How often this thread took memory; the test harness has threads of its own.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often memory is taken by this work.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[test]
fn nothing_is_allocated_after_construction() {
    let largest = Code::new(300, 100).unwrap();
    let data = vec![[7_u8; 1280]; 300];
    let workspace = &mut Workspace::new(largest);
    let mut protector = Protector::new(largest, 1280).unwrap();
    let mut recoverer = Recoverer::new(largest, 1280).unwrap();
    for (k, m) in [(300, 100), (200, 40), (64, 13), (5, 1)] {
        let code = Code::new(k, m).unwrap();
        let (data, mut parity) = (&data[..k], vec![[0_u8; 1280]; m]);
        let found = allocations(|| {
            code.protect(workspace, data, &mut parity).unwrap();
            protector.begin(code, 1280).unwrap();
            protector.add(data).unwrap();
            protector.finish(&mut parity).unwrap();
        });
        assert_eq!(found, 0);
        for count in [1, 1 + m / 3, m] {
            let received: Vec<(usize, &[u8; 1280])> = (count..k + count)
                .map(|index| (index, if index < k { &data[index] } else { &parity[index - k] }))
                .collect();
            let mut lost: Vec<(usize, [u8; 1280])> = (0..count).map(|i| (i, [0; 1280])).collect();
            let found = allocations(|| {
                code.recover(workspace, &received, &mut lost).unwrap();
                recoverer.begin(code, 1280).unwrap();
                recoverer.add(count, &data[count..]).unwrap();
                recoverer.finish(&received, &mut lost).unwrap();
            });
            assert_eq!(found, 0);
            assert!(lost.iter().all(|(_, shard)| *shard == data[0]));
        }
    }
}
