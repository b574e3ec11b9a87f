/*
 * strata-guest ROUNDS: runs under KVM a guest of two vCPUs in real mode, each for so many rounds
 * (1 to 9999), and exits with status 0 if both did as expected.
 *
 * In a round a vCPU writes a port and reads one, writes and reads the memory of a device, executes
 * CPUID, writes to its next page of RAM, counts down and halts. There is neither an interrupt
 * controller nor a device: each of these comes back to this program, except CPUID and page faults,
 * which KVM deals with. The vCPUs take turns on one thread, from exit to exit.
 *
 * No C library and no kernel headers: the numbers are those of Linux' Documentation/virt/kvm/api.rst
 * and include/uapi/linux/kvm.h for x86-64, an interface that does not change.
 *
 *     cc -O2 -ffreestanding -nostdlib -static -fno-pie -no-pie -o strata-guest guest.c
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { OPEN = 2, MMAP = 9, IOCTL = 16, EXIT = 60 };
enum {
    KVM_CREATE_VM = 0xae01,
    KVM_GET_VCPU_MMAP_SIZE = 0xae04,
    KVM_CREATE_VCPU = 0xae41,
    KVM_SET_USER_MEMORY_REGION = 0x4020ae46,
    KVM_RUN = 0xae80,
};
#define KVM_SET_REGS 0x4090ae82UL
#define KVM_GET_SREGS 0x8138ae83UL
#define KVM_SET_SREGS 0x4138ae84UL
enum { EXIT_IO = 2, EXIT_HLT = 5, EXIT_MMIO = 6 };

enum { VCPUS = 2, RAM_BYTES = 0x80000, CODE_AT = 0x1000, DEVICE = 0xd0000 };
/* Pages that each vCPU writes to in turn, from 64 KiB on. */
enum { PAGES_FROM = 0x10000, PAGES_BYTES = 0x30000 };

struct segment { u64 base; u32 limit; u16 selector; u8 attributes[10]; };
struct sregs { struct segment cs, ds, es, fs, gs, ss; u8 rest[312 - 6 * 24]; };
struct regs { u64 rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8_to_r15[8], rip, rflags; };
struct region { u32 slot, flags; u64 guest_address, bytes, address; };
/* The part of struct kvm_run that is looked at. */
struct run { u8 head[8]; u32 exit_reason; };

/* SI holds the segment of the first page, DI that behind the last, BP that of the next. */
asm(".pushsection .rodata\n"
    ".code16\n"
    "guest_begin:\n"
    "1:  mov $0x41, %al\n"
    "    out %al, $0x80\n"
    "    in $0x61, %al\n"
    "    mov %al, %es:0x0\n"
    "    mov %es:0x4, %al\n"
    "    xor %eax, %eax\n"
    "    cpuid\n"
    "    mov %bp, %ds\n"
    "    movb $1, 0x0\n"
    "    add $0x100, %bp\n"
    "    cmp %di, %bp\n"
    "    jb 2f\n"
    "    mov %si, %bp\n"
    "2:  mov $10000, %cx\n"
    "3:  loop 3b\n"
    "    hlt\n"
    "    jmp 1b\n"
    "guest_end:\n"
    ".code64\n"
    ".popsection\n");
extern const u8 guest_begin[], guest_end[];

asm(".globl _start\n"
    "_start: mov %rsp, %rdi\n"
    "    and $-16, %rsp\n"
    "    call begin\n");

static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
    asm volatile("syscall"
                 : "+a"(number)
                 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return number;
}

__attribute__((noreturn)) static void leave(int status)
{
    for (;;)
        call(EXIT, status, 0, 0, 0, 0, 0);
}

/* The result, or the end with the status that says which step failed. */
static u64 must(long result, int step)
{
    if (result < 0)
        leave(step);
    return result;
}

static u64 ioctl(u64 file, u64 request, const void *argument, int step)
{
    return must(call(IOCTL, file, request, (u64)argument, 0, 0, 0), step);
}

/* Memory of this process, of a file if that is not ~0. */
static void *map(u64 bytes, u64 file, int step)
{
    enum { READ_WRITE = 3, SHARED = 1, ANONYMOUS = 0x20 };
    u64 flags = SHARED | (file == ~0UL ? ANONYMOUS : 0);
    return (void *)must(call(MMAP, 0, bytes, READ_WRITE, flags, file, 0), step);
}

static struct sregs sregs;

static u64 vcpu(u64 machine, u64 number)
{
    u64 file = ioctl(machine, KVM_CREATE_VCPU, (void *)number, 15);
    u64 pages = PAGES_FROM + number * PAGES_BYTES;
    struct regs regs = {
        .rip = CODE_AT,
        .rflags = 2,
        .rsi = pages >> 4,
        .rdi = (pages + PAGES_BYTES) >> 4,
        .rbp = pages >> 4,
    };
    ioctl(file, KVM_GET_SREGS, &sregs, 16);
    sregs.cs.base = sregs.cs.selector = 0;
    sregs.es.base = DEVICE;
    sregs.es.selector = DEVICE >> 4;
    ioctl(file, KVM_SET_SREGS, &sregs, 17);
    ioctl(file, KVM_SET_REGS, &regs, 18);
    return file;
}

static u32 number(const char *text)
{
    u32 value = 0;
    for (; *text >= '0' && *text <= '9' && value < 10000; text++)
        value = value * 10 + (*text - '0');
    return *text || value > 9999 ? 0 : value;
}

__attribute__((noreturn, used)) void begin(u64 *stack)
{
    u32 rounds = stack[0] == 2 ? number((const char *)stack[2]) : 0;
    if (!rounds)
        leave(2);
    u64 kvm = must(call(OPEN, (u64) "/dev/kvm", 2, 0, 0, 0, 0), 11);
    u64 machine = ioctl(kvm, KVM_CREATE_VM, 0, 12);
    u8 *ram = map(RAM_BYTES, ~0UL, 13);
    for (u64 i = 0; i < (u64)(guest_end - guest_begin); i++)
        ram[CODE_AT + i] = guest_begin[i];
    struct region region = { .bytes = RAM_BYTES, .address = (u64)ram };
    ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region, 14);

    u64 bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0, 19);
    u64 vcpus[VCPUS];
    volatile struct run *runs[VCPUS];
    u32 left[VCPUS];
    for (u64 i = 0; i < VCPUS; i++) {
        vcpus[i] = vcpu(machine, i);
        runs[i] = map(bytes, vcpus[i], 20);
        left[i] = rounds;
    }
    for (u32 running = VCPUS; running;) {
        for (u32 i = 0; i < VCPUS; i++) {
            if (!left[i])
                continue;
            ioctl(vcpus[i], KVM_RUN, 0, 21);
            u32 reason = runs[i]->exit_reason;
            if (reason == EXIT_HLT)
                running -= !--left[i];
            else if (reason != EXIT_IO && reason != EXIT_MMIO)
                leave(22);
        }
    }
    leave(0);
}
