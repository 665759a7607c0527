/* What a power cut would take: a library that is loaded before the program (LD_PRELOAD) and stands between it and the
 * disk. After a mere kill the page cache lives on, so that a program which flushes nothing loses nothing; this keeps what
 * each write replaced until its flush, so that the harness can undo any part of what was never flushed.
 *
 * For each file under PUNTE_POWER_DATA (but SQLite's -shm, which is memory) it appends to PUNTE_POWER_SIDE/log, before
 * the write is done, what the write replaces; after a flush that succeeded, up to where in the log it reached. Entries of
 * folders likewise, until the folder is flushed. What a name stood for is kept by a hard link, so that no inode number is
 * used twice. The log is read by tests/src/crash/undo.rs.
 *
 * PUNTE_POWER_SIDE/control, mapped by both, brings faults: a flush that fails, slow flushes, no room, another time.
 *
 * It is C because open() takes a variable number of arguments, and because nothing that interposes libc is safe Rust. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS 65536
#define MAGIC 0x52574f50u

struct record {
    uint32_t magic, kind;
    uint64_t inode, offset, old_size, length;
    uint32_t name_length, data_length;
};

/* As in tests/src/crash/shim.rs. */
struct control {
    volatile uint64_t failing_flushes; /* so many flushes from now on fail with EIO */
    volatile uint64_t flush_delay_us;
    volatile int64_t clock_offset_s;
    volatile uint64_t no_room; /* not 0: what makes a file longer fails with ENOSPC */
    volatile uint64_t flushes, failed; /* told by us */
};

static int (*real_open)(const char *, int, ...), (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int), (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t);
static ssize_t (*real_write)(int, const void *, size_t), (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int), (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_rename)(const char *, const char *), (*real_unlink)(const char *);
static int (*real_linkat)(int, const char *, int, const char *, int);
static int (*real_unlinkat)(int, const char *, int), (*real_mkdir)(const char *, mode_t), (*real_rmdir)(const char *);
static int (*real_fallocate)(int, int, off_t, off_t);
static ssize_t (*real_sendfile)(int, int, off_t *, size_t);
static ssize_t (*real_copy_file_range)(int, off_t *, int, off_t *, size_t, unsigned);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static const char *data, *side;
static size_t data_length;
static int log_fd = -1;
static uint64_t log_end;
static struct control *control;
/* Per open file: 0 not ours, 1 a file of ours, 2 a folder of ours. */
static volatile unsigned char ours[FDS];
static volatile uint64_t inode_of[FDS];
/* A failed flush is told once to each handle that was open then, as the kernel does. */
static volatile unsigned char unheard[FDS];
/* Held from before the log is written until the write is done, so that both have one order. Never during a flush. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The program can't go on without its log: what it writes could not be undone. */
static void fail(const char *what) {
    fprintf(stderr, "power shim: %s: %s\n", what, strerror(errno));
    abort();
}

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) fail(name);
    return found;
}

static void begin(void) {
    real_open = real("open64"), real_openat = real("openat64"), real_close = real("close");
    real_fsync = real("fsync"), real_fdatasync = real("fdatasync"), real_ftruncate = real("ftruncate64");
    real_write = real("write"), real_pwrite = real("pwrite64");
    real_writev = real("writev"), real_pwritev = real("pwritev64");
    real_linkat = real("linkat");
    real_rename = real("rename"), real_unlink = real("unlink"), real_unlinkat = real("unlinkat");
    real_mkdir = real("mkdir"), real_rmdir = real("rmdir"), real_fallocate = real("fallocate64");
    real_sendfile = real("sendfile64"), real_copy_file_range = real("copy_file_range");
    real_clock_gettime = real("clock_gettime");
    data = getenv("PUNTE_POWER_DATA"), side = getenv("PUNTE_POWER_SIDE");
    if (!data || !side) {
        data = NULL;
        return;
    }
    data_length = strlen(data);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/control", side);
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) fail(path);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) fail(path);
    real_close(fd);
}

__attribute__((constructor)) static void start(void) { pthread_once(&once, begin); }
#define READY pthread_once(&once, begin)

/* Opened with the first record: a child that writes nothing of ours opens nothing. */
static void open_log(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/log", side);
    log_fd = real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct stat found;
    if (log_fd < 0 || fstat(log_fd, &found)) fail(path);
    log_end = found.st_size;
}

static void note(struct record record, const char *name, size_t name_length, const void *bytes, size_t length) {
    if (log_fd < 0) open_log();
    record.magic = MAGIC, record.name_length = name_length, record.data_length = length;
    struct iovec parts[3] = {{&record, sizeof record}, {(void *)name, name_length}, {(void *)bytes, length}};
    ssize_t whole = sizeof record + name_length + length;
    if (real_writev(log_fd, parts, 3) != whole) fail("the log can't be written");
    log_end += whole;
}

static void note_name(uint32_t kind, uint64_t inode, const char *path, uint64_t keep) {
    note((struct record){.kind = kind, .inode = inode, .length = keep}, path, strlen(path), NULL, 0);
}

static int is_ours(const char *path) {
    size_t length = path ? strlen(path) : 0;
    if (!data || length < data_length || memcmp(path, data, data_length)) return 0;
    if (path[data_length] && path[data_length] != '/') return 0;
    return length < 4 || strcmp(path + length - 4, "-shm");
}

/* The path of a name in an open folder. */
static const char *at(int folder, const char *path, char whole[PATH_MAX]) {
    if (folder == AT_FDCWD || path[0] == '/') return path;
    char link[64], name[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return path;
    name[length] = 0;
    if ((size_t)snprintf(whole, PATH_MAX, "%s/%s", name, path) >= PATH_MAX) return path;
    return whole;
}

/* Bytes of a file, also of one that is open for writing only. The caller frees them. */
static void *bytes_of(int fd, off_t from, size_t length) {
    char *bytes = malloc(length), link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int readable = real_open(link, O_RDONLY | O_CLOEXEC);
    if (!bytes || readable < 0) fail("what is replaced can't be read");
    size_t read = 0;
    while (read < length) {
        ssize_t count = pread(readable, bytes + read, length - read, from + read);
        if (count <= 0) fail("what is replaced can't be read");
        read += count;
    }
    real_close(readable);
    return bytes;
}

static int is_file(int fd) { return 0 <= fd && fd < FDS && ours[fd] == 1; }

/* Before a write: keeps what it replaces. With the lock held. False: there is no room. */
static int keep_old(int fd, off_t offset, size_t length) {
    struct stat found;
    if (fstat(fd, &found)) fail("fstat");
    if (control->no_room && found.st_size < offset + (off_t)length) return 0;
    size_t replaced = offset < found.st_size ? (size_t)(found.st_size - offset) : 0;
    if (length < replaced) replaced = length;
    void *old = replaced ? bytes_of(fd, offset, replaced) : NULL;
    note((struct record){.kind = 'W', .inode = found.st_ino, .offset = offset, .old_size = found.st_size, .length = length}, NULL, 0, old, replaced);
    free(old);
    return 1;
}

static void keep_cut(int fd, off_t to) {
    struct stat found;
    if (fstat(fd, &found)) fail("fstat");
    if (to == found.st_size) return;
    size_t cut = to < found.st_size ? (size_t)(found.st_size - to) : 0;
    void *old = cut ? bytes_of(fd, to, cut) : NULL;
    note((struct record){.kind = 'T', .inode = found.st_ino, .offset = to, .old_size = found.st_size}, NULL, 0, old, cut);
    free(old);
}

static off_t place(int fd) {
    struct stat found;
    int flags = fcntl(fd, F_GETFL);
    if (flags & O_APPEND && !fstat(fd, &found)) return found.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int part = 0; part < count; part++) length += parts[part].iov_len;
    return length;
}

/* Keeps what stands under a name by a second name beside the data folder. 0: nothing stood there. */
static uint64_t keep_file(const char *path, uint64_t *inode) {
    struct stat found;
    if (lstat(path, &found)) return 0;
    *inode = found.st_ino;
    if (log_fd < 0) open_log();
    /* No other name was kept at this place of the log. */
    uint64_t number = log_end + 1;
    char link_name[PATH_MAX];
    snprintf(link_name, sizeof link_name, "%s/kept/%lu", side, (unsigned long)number);
    if (real_linkat(AT_FDCWD, path, AT_FDCWD, link_name, 0)) fail(link_name);
    return number;
}

static int opened(int fd, const char *path, int flags, int was_there) {
    struct stat found;
    if (fd < 0 || FDS <= fd || fstat(fd, &found)) return fd;
    inode_of[fd] = found.st_ino, unheard[fd] = 0;
    if (!was_there && flags & O_CREAT) note_name('C', found.st_ino, path, 0);
    ours[fd] = S_ISDIR(found.st_mode) ? 2 : S_ISREG(found.st_mode) ? 1 : 0;
    return fd;
}

static int open_ours(const char *path, int flags, mode_t mode) {
    pthread_mutex_lock(&lock);
    struct stat found;
    int was_there = !lstat(path, &found);
    if (was_there && flags & O_TRUNC && S_ISREG(found.st_mode) && found.st_size) {
        int fd = real_open(path, O_RDONLY | O_CLOEXEC);
        if (0 <= fd) keep_cut(fd, 0), real_close(fd);
    }
    int fd = opened(real_open(path, flags, mode), path, flags, was_there);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list more) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        READY;                                                                  \
        va_list more;                                                           \
        va_start(more, flags);                                                  \
        mode_t mode = mode_of(flags, more);                                     \
        va_end(more);                                                           \
        return is_ours(path) ? open_ours(path, flags, mode) : real_open(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                            \
    int name(int folder, const char *path, int flags, ...) {                    \
        READY;                                                                  \
        va_list more;                                                           \
        va_start(more, flags);                                                  \
        mode_t mode = mode_of(flags, more);                                     \
        va_end(more);                                                           \
        char whole[PATH_MAX];                                                   \
        const char *full = at(folder, path, whole);                             \
        return is_ours(full) ? open_ours(full, flags, mode) : real_openat(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    READY;
    if (0 <= fd && fd < FDS) ours[fd] = 0;
    return real_close(fd);
}

#define KEPT(offset, length, done)                        \
    if (!is_file(fd)) return done;                        \
    pthread_mutex_lock(&lock);                            \
    ssize_t result = -1;                                  \
    int error = ENOSPC;                                   \
    if (keep_old(fd, offset, length)) {                   \
        result = done;                                    \
        error = errno;                                    \
    }                                                     \
    pthread_mutex_unlock(&lock);                          \
    errno = error;                                        \
    return result;

ssize_t write(int fd, const void *bytes, size_t length) {
    READY;
    KEPT(place(fd), length, real_write(fd, bytes, length))
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    READY;
    KEPT(offset, length, real_pwrite(fd, bytes, length, offset))
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    READY;
    KEPT(offset, length, real_pwrite(fd, bytes, length, offset))
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    READY;
    KEPT(place(fd), total(parts, count), real_writev(fd, parts, count))
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    READY;
    KEPT(offset, total(parts, count), real_pwritev(fd, parts, count, offset))
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    READY;
    KEPT(offset, total(parts, count), real_pwritev(fd, parts, count, offset))
}

static int cut(int fd, off_t to) {
    READY;
    if (!is_file(fd)) return real_ftruncate(fd, to);
    pthread_mutex_lock(&lock);
    keep_cut(fd, to);
    int result = real_ftruncate(fd, to), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int ftruncate(int fd, off_t to) { return cut(fd, to); }
int ftruncate64(int fd, off_t to) { return cut(fd, to); }

/* These write past us: whoever wants them does without on our files. */
static int reserve(int fd, int mode, off_t from, off_t length) {
    READY;
    if (!is_file(fd)) return real_fallocate(fd, mode, from, length);
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate(int fd, int mode, off_t from, off_t length) { return reserve(fd, mode, from, length); }
int fallocate64(int fd, int mode, off_t from, off_t length) { return reserve(fd, mode, from, length); }
int posix_fallocate(int fd, off_t from, off_t length) { return reserve(fd, 0, from, length) ? errno : 0; }
int posix_fallocate64(int fd, off_t from, off_t length) { return reserve(fd, 0, from, length) ? errno : 0; }
static ssize_t send_file(int to, int from, off_t *offset, size_t count) {
    READY;
    if (!is_file(to)) return real_sendfile(to, from, offset, count);
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t count) { return send_file(to, from, offset, count); }
ssize_t sendfile64(int to, int from, off_t *offset, size_t count) { return send_file(to, from, offset, count); }
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t count, unsigned flags) {
    READY;
    if (!is_file(to)) return real_copy_file_range(from, from_at, to, to_at, count, flags);
    errno = ENOSYS;
    return -1;
}

static int flush(int fd, int (*flush_really)(int)) {
    READY;
    if (fd < 0 || FDS <= fd || !ours[fd]) return flush_really(fd);
    pthread_mutex_lock(&lock);
    if (log_fd < 0) open_log();
    uint64_t reached = log_end, inode = inode_of[fd];
    int is_folder = ours[fd] == 2, fails = control->failing_flushes > 0 && !is_folder;
    if (fails) {
        control->failing_flushes--, control->failed++;
        for (int other = 0; other < FDS; other++)
            if (ours[other] && inode_of[other] == inode) unheard[other] = 1;
    }
    control->flushes++;
    uint64_t delay = control->flush_delay_us;
    pthread_mutex_unlock(&lock);
    if (delay) usleep(delay);
    int result = flush_really(fd), error = errno;
    char link[64], path[PATH_MAX] = "";
    ssize_t length = 0;
    if (is_folder) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        length = readlink(link, path, sizeof path);
        if (length < 0) length = 0;
    }
    pthread_mutex_lock(&lock);
    /* Also one that failed beside this one, while it was under way. */
    if (fails || unheard[fd]) result = -1, error = EIO;
    unheard[fd] = 0;
    uint32_t kind = result ? 'E' : is_folder ? 'D' : 'F';
    note((struct record){.kind = kind, .inode = inode, .offset = reached}, path, length, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int fsync(int fd) { return READY, flush(fd, real_fsync); }
int fdatasync(int fd) { return READY, flush(fd, real_fdatasync); }

int rename(const char *from, const char *to) {
    READY;
    if (!is_ours(from) || !is_ours(to)) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    struct stat found;
    uint64_t inode = 0, keep = keep_file(to, &inode);
    char both[2 * PATH_MAX];
    int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    uint64_t moved = lstat(from, &found) ? 0 : found.st_ino;
    note((struct record){.kind = 'R', .inode = moved, .length = keep}, both, length, NULL, 0);
    int result = real_rename(from, to), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

/* A second name of a file is a new entry of its folder. */
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    READY;
    char whole[PATH_MAX];
    const char *full = at(to_folder, to, whole);
    if (!is_ours(full)) return real_linkat(from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&lock);
    int result = real_linkat(from_folder, from, to_folder, to, flags), error = errno;
    struct stat found;
    if (!result && !lstat(full, &found)) note_name('C', found.st_ino, full, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

static int unlink_ours(const char *path) {
    pthread_mutex_lock(&lock);
    uint64_t inode = 0, keep = keep_file(path, &inode);
    if (keep) note_name('U', inode, path, keep);
    int result = real_unlink(path), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int unlink(const char *path) {
    READY;
    return is_ours(path) ? unlink_ours(path) : real_unlink(path);
}

static int rmdir_ours(const char *path) {
    pthread_mutex_lock(&lock);
    note_name('X', 0, path, 0);
    int result = real_rmdir(path), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int rmdir(const char *path) {
    READY;
    return is_ours(path) ? rmdir_ours(path) : real_rmdir(path);
}
int unlinkat(int folder, const char *path, int flags) {
    READY;
    char whole[PATH_MAX];
    const char *full = at(folder, path, whole);
    if (!is_ours(full)) return real_unlinkat(folder, path, flags);
    return flags & AT_REMOVEDIR ? rmdir_ours(full) : unlink_ours(full);
}

int mkdir(const char *path, mode_t mode) {
    READY;
    if (!is_ours(path)) return real_mkdir(path, mode);
    pthread_mutex_lock(&lock);
    int result = real_mkdir(path, mode), error = errno;
    if (!result) note_name('M', 0, path, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    READY;
    int result = real_clock_gettime(clock, now);
    if (!result && clock == CLOCK_REALTIME && control) now->tv_sec += control->clock_offset_s;
    return result;
}
