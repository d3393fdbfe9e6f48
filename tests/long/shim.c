/* Stands between a process and its file operations: counts, kills, fails, stops or records. See shim.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IDLE, COUNT, KILL, KILL_HALF, FAIL, FAIL_ON, FAIL_HALF, STOP };
enum { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, RENAME, LINK, SYMLINK, UNLINK, MKDIR, RMDIR, CHMOD, CLOSE, PRINT, MARK, OPEN };
enum { GO, DENY, HALF };

struct control { volatile int64_t count, reached, go; };
struct record { uint32_t kind; int32_t fd; uint64_t inode; int64_t offset, result; uint32_t path, other; uint64_t data; };

static int mode = IDLE, error_number = EIO, record_fd = -1, opens = 0;
static pid_t armed_in;
static int64_t at;
static char folder[PATH_MAX];
static size_t folder_size;
static struct control none, *control = &none;
static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static int is_armed(void) { return mode != IDLE && getpid() == armed_in; } /* not in a child before its exec */

static const char *text(const char *name, const char *absent)
{
    const char *found = getenv(name);
    return found && *found ? found : absent;
}

/* Read SHIM_… of the environment. */
void shim_arm(void)
{
    int shared;
    mode = IDLE;
    if (!realpath(text("SHIM_FOLDER", "/nowhere"), folder)) return;
    folder_size = strlen(folder);
    at = atoll(text("SHIM_AT", "0"));
    error_number = atoi(text("SHIM_ERROR", "5"));
    opens = atoi(text("SHIM_OPENS", "0"));
    shared = REAL(open)(text("SHIM_CONTROL", "/nowhere"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (shared >= 0 && REAL(ftruncate)(shared, sizeof none) == 0)
        control = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (control == MAP_FAILED) abort();
    if (shared >= 0) REAL(close)(shared);
    if (getenv("SHIM_RECORD")) {
        int opened = REAL(open)(getenv("SHIM_RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        record_fd = fcntl(opened, F_DUPFD_CLOEXEC, 500); /* out of the way of what the process closes */
        REAL(close)(opened);
    }
    armed_in = getpid();
    mode = atoi(text("SHIM_MODE", "0"));
}

__attribute__((constructor)) static void begin(void)
{
    if (getenv("SHIM_MODE")) shim_arm();
}

/* Which files matter */

static int matters(const char *path)
{
    size_t size = strlen(path);
    if (strncmp(path, folder, folder_size) || (path[folder_size] && path[folder_size] != '/')) return 0;
    return size < 4 || strcmp(path + size - 4, "-shm");
}

/* The path of a descriptor, if it matters. */
static int of_descriptor(int fd, char *path)
{
    char name[40];
    ssize_t size;
    char *deleted;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    size = readlink(name, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    deleted = strstr(path, " (deleted)");
    if (deleted && !deleted[10]) *deleted = 0;
    return path[0] == '/' && matters(path);
}

/* The absolute path of a name, whose folder's links are followed, if it matters. */
static int of_name(int directory, const char *name, char *path)
{
    char joined[2 * PATH_MAX], parent[PATH_MAX];
    const char *last;
    char *slash;
    if (name[0] == '/')
        snprintf(joined, sizeof joined, "%s", name);
    else {
        char start[40], base[PATH_MAX];
        ssize_t size;
        if (directory == AT_FDCWD) snprintf(start, sizeof start, "/proc/self/cwd");
        else snprintf(start, sizeof start, "/proc/self/fd/%d", directory);
        size = readlink(start, base, sizeof base - 1);
        if (size < 0) return 0;
        base[size] = 0;
        snprintf(joined, sizeof joined, "%s/%s", base, name);
    }
    slash = strrchr(joined, '/');
    while (slash > joined && !slash[1]) { *slash = 0; slash = strrchr(joined, '/'); }
    last = slash + 1;
    if (slash == joined) strcpy(parent, "/");
    else { *slash = 0; if (!realpath(joined, parent)) return 0; }
    if (strlen(parent) + strlen(last) + 2 > PATH_MAX) return 0;
    strcpy(path, parent);
    if (strcmp(path, "/")) strcat(path, "/");
    strcat(path, last);
    return matters(path);
}

static uint64_t inode_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) ? 0 : status.st_ino;
}

/* The record */

static void put(const void *data, size_t size)
{
    while (size) {
        ssize_t done = REAL(write)(record_fd, data, size);
        if (done <= 0) abort();
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

static void note(int kind, int fd, const char *path, const char *other, uint64_t inode, int64_t offset, int64_t result, const void *data, size_t size)
{
    int before = errno;
    struct record made = {kind, fd, inode, offset, result, (uint32_t)strlen(path), (uint32_t)strlen(other), size};
    if (record_fd < 0) return;
    pthread_mutex_lock(&recording);
    put(&made, sizeof made);
    put(path, made.path);
    put(other, made.other);
    put(data, size);
    pthread_mutex_unlock(&recording);
    errno = before;
}

void shim_mark(const char *said)
{
    if (is_armed()) note(MARK, -1, "", "", 0, 0, 0, said, strlen(said));
}

/* What happens at an operation */

__attribute__((noreturn)) static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Count an operation, and do at the chosen one what is to be done. An operation takes room if a full disk can fail it. */
static int step(int takes_room)
{
    int64_t number = ++control->count;
    int fails = takes_room || error_number != ENOSPC;
    if (mode == FAIL_ON && number > at && fails) { errno = error_number; return DENY; }
    if (mode == FAIL_HALF && number > at && takes_room) { errno = error_number; return DENY; }
    if (number != at) return GO;
    switch (mode) {
    case KILL:
        control->reached = 1;
        die();
    case KILL_HALF:
        control->reached = 1;
        return HALF;
    case FAIL:
    case FAIL_ON:
        if (!fails) return GO;
        control->reached = 1;
        errno = error_number;
        return DENY;
    case FAIL_HALF:
        if (!takes_room) return GO;
        control->reached = 1;
        return HALF;
    case STOP:
        control->reached = 1;
        while (!control->go) usleep(200);
    }
    return GO;
}

/* Like step, for what cannot be half done. */
static int whole_step(int takes_room)
{
    int what = step(takes_room);
    if (what != HALF) return what;
    if (mode == KILL_HALF) die();
    errno = error_number;
    return DENY;
}

/* Writes */

static int is_print(int fd) { return fd == 1; }

static int64_t offset_of(int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_APPEND) return fstat(fd, &status) ? 0 : status.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static uint64_t inode_at(int fd)
{
    struct stat status;
    return fstat(fd, &status) ? 0 : status.st_ino;
}

/* Write at an offset, or (-1) where the descriptor stands. */
static ssize_t put_at(int fd, const void *data, size_t size, off64_t offset)
{
    return offset < 0 ? REAL(write)(fd, data, size) : REAL(pwrite64)(fd, data, size, offset);
}

static ssize_t write_at(int fd, const void *data, size_t size, off64_t offset)
{
    char path[PATH_MAX] = "";
    int prints = offset < 0 && is_print(fd);
    int64_t from;
    ssize_t done;
    int what;
    if (!is_armed() || !(of_descriptor(fd, path) || prints)) return put_at(fd, data, size, offset);
    what = step(1);
    if (what == DENY) return -1;
    from = prints ? 0 : offset < 0 ? offset_of(fd) : offset;
    done = put_at(fd, data, what == HALF ? size / 2 : size, offset);
    if (done > 0) note(prints ? PRINT : WRITE, fd, path, "", inode_at(fd), from, done, data, (size_t)done);
    if (what == HALF) {
        if (mode == KILL_HALF) die();
        if (size < 2) { errno = error_number; return -1; }
    }
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return write_at(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return write_at(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_at(fd, data, size, offset); }

static ssize_t vector_at(int fd, const struct iovec *parts, int number, off64_t offset)
{
    size_t size = 0, filled = 0;
    char *joined;
    ssize_t done;
    int saved;
    for (int n = 0; n < number; n++) size += parts[n].iov_len;
    joined = malloc(size + 1);
    if (!joined) abort();
    for (int n = 0; n < number; n++) {
        memcpy(joined + filled, parts[n].iov_base, parts[n].iov_len);
        filled += parts[n].iov_len;
    }
    done = write_at(fd, joined, size, offset);
    saved = errno;
    free(joined);
    errno = saved;
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int number) { return vector_at(fd, parts, number, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int number, off_t offset) { return vector_at(fd, parts, number, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int number, off64_t offset) { return vector_at(fd, parts, number, offset); }

/* Copies within the kernel are refused; who copies then writes instead. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    char path[PATH_MAX];
    if (!is_armed() || !of_descriptor(out, path)) return REAL(copy_file_range)(in, from, out, to, size, flags);
    errno = ENOSYS;
    return -1;
}

#define SENDS(name, offset_type) \
    ssize_t name(int out, int in, offset_type *offset, size_t size); \
    ssize_t name(int out, int in, offset_type *offset, size_t size) \
    { \
        char path[PATH_MAX]; \
        if (!is_armed() || !of_descriptor(out, path)) \
            return ((ssize_t (*)(int, int, offset_type *, size_t))real(#name))(out, in, offset, size); \
        errno = EINVAL; \
        return -1; \
    }
SENDS(sendfile, off_t)
SENDS(sendfile64, off64_t)

/* Files that come to be */

static int open_it(const char *function, int directory, const char *name, int flags, mode_t permissions)
{
    char path[PATH_MAX];
    struct stat status;
    int fd, counts, creates, truncates;
    if (!is_armed() || !of_name(directory, name, path))
        return ((int (*)(int, const char *, int, ...))real(function))(directory, name, flags, permissions);
    int there = stat(path, &status) == 0;
    creates = flags & O_CREAT && !there;
    truncates = flags & O_TRUNC && there && status.st_size;
    counts = creates || truncates || (opens && there && S_ISREG(status.st_mode));
    if (counts && whole_step(creates) == DENY) return -1;
    fd = ((int (*)(int, const char *, int, ...))real(function))(directory, name, flags, permissions);
    if (fd < 0) return fd;
    if (creates) note(CREATE, fd, path, "", inode_at(fd), flags, fd, "", 0);
    else if (truncates) note(TRUNCATE, fd, path, "", inode_at(fd), 0, 0, "", 0);
    else note(OPEN, fd, path, "", inode_at(fd), flags, fd, "", 0);
    return fd;
}

#define PERMISSIONS(flags, last) \
    mode_t permissions = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, last); permissions = va_arg(rest, mode_t); va_end(rest); }

int open(const char *name, int flags, ...) { PERMISSIONS(flags, flags) return open_it("openat", AT_FDCWD, name, flags, permissions); }
int open64(const char *name, int flags, ...) { PERMISSIONS(flags, flags) return open_it("openat64", AT_FDCWD, name, flags, permissions); }
int openat(int directory, const char *name, int flags, ...) { PERMISSIONS(flags, flags) return open_it("openat", directory, name, flags, permissions); }
int openat64(int directory, const char *name, int flags, ...) { PERMISSIONS(flags, flags) return open_it("openat64", directory, name, flags, permissions); }
int creat(const char *name, mode_t permissions) { return open_it("openat", AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, permissions); }
int creat64(const char *name, mode_t permissions) { return open_it("openat64", AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, permissions); }

int close(int fd)
{
    char path[PATH_MAX];
    if (fd == record_fd && fd >= 0 && is_armed()) return 0;
    if (is_armed() && record_fd >= 0 && of_descriptor(fd, path)) note(CLOSE, fd, path, "", inode_at(fd), 0, 0, "", 0);
    return REAL(close)(fd);
}

/* Sizes and durability */

static int64_t size_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) ? 0 : status.st_size;
}

static int sync_it(const char *function, int fd)
{
    char path[PATH_MAX];
    struct stat status;
    int done;
    if (!is_armed() || !of_descriptor(fd, path)) return ((int (*)(int))real(function))(fd);
    if (whole_step(1) == DENY) return -1;
    done = ((int (*)(int))real(function))(fd);
    if (fstat(fd, &status) == 0) note(S_ISDIR(status.st_mode) ? SYNC_FOLDER : SYNC, fd, path, "", status.st_ino, 0, done, "", 0);
    return done;
}

int fsync(int fd) { return sync_it("fsync", fd); }
int fdatasync(int fd) { return sync_it("fdatasync", fd); }

static int resize(int fd, off64_t size)
{
    char path[PATH_MAX];
    int done;
    if (!is_armed() || !of_descriptor(fd, path)) return REAL(ftruncate64)(fd, size);
    if (whole_step(size > size_of(fd)) == DENY) return -1;
    done = REAL(ftruncate64)(fd, size);
    note(TRUNCATE, fd, path, "", inode_at(fd), size, done, "", 0);
    return done;
}

int ftruncate(int fd, off_t size) { return resize(fd, size); }
int ftruncate64(int fd, off64_t size) { return resize(fd, size); }

static int resize_name(const char *name, off64_t size)
{
    int done, saved, fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    done = resize(fd, size);
    saved = errno;
    close(fd);
    errno = saved;
    return done;
}

int truncate(const char *name, off_t size) { return resize_name(name, size); }
int truncate64(const char *name, off64_t size) { return resize_name(name, size); }

static int allocate(int fd, off64_t offset, off64_t size)
{
    char path[PATH_MAX];
    int64_t end = size_of(fd);
    int done;
    if (!is_armed() || !of_descriptor(fd, path)) return REAL(posix_fallocate64)(fd, offset, size);
    if (whole_step(1) == DENY) return errno;
    done = REAL(posix_fallocate64)(fd, offset, size);
    if (offset + size > end) note(TRUNCATE, fd, path, "", inode_at(fd), offset + size, -done, "", 0);
    return done;
}

int posix_fallocate(int fd, off_t offset, off_t size) { return allocate(fd, offset, size); }
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return allocate(fd, offset, size); }

/* Names */

struct names { int from_folder, to_folder, flags; unsigned rename_flags; const char *from, *to; };

static int do_rename(void *given) { struct names *n = given; return REAL(renameat)(n->from_folder, n->from, n->to_folder, n->to); }
static int do_rename2(void *given) { struct names *n = given; return REAL(renameat2)(n->from_folder, n->from, n->to_folder, n->to, n->rename_flags); }
static int do_link(void *given) { struct names *n = given; return REAL(linkat)(n->from_folder, n->from, n->to_folder, n->to, n->flags); }
static int do_symlink(void *given) { struct names *n = given; return REAL(symlinkat)(n->from, n->to_folder, n->to); }

static int two_names(int kind, struct names n, int (*act)(void *))
{
    char one[PATH_MAX] = "", two[PATH_MAX] = "";
    uint64_t inode;
    int matter, done;
    if (!is_armed()) return act(&n);
    if (kind == SYMLINK) snprintf(one, sizeof one, "%s", n.from);
    matter = kind != SYMLINK && of_name(n.from_folder, n.from, one);
    matter |= of_name(n.to_folder, n.to, two);
    if (!matter) return act(&n);
    inode = inode_of(one);
    if (whole_step(kind != RENAME) == DENY) return -1;
    done = act(&n);
    if (done == 0) note(kind, -1, one, two, kind == SYMLINK ? inode_of(two) : inode, 0, 0, "", 0);
    return done;
}

int rename(const char *from, const char *to) { return two_names(RENAME, (struct names){AT_FDCWD, AT_FDCWD, 0, 0, from, to}, do_rename); }
int renameat(int a, const char *from, int b, const char *to) { return two_names(RENAME, (struct names){a, b, 0, 0, from, to}, do_rename); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return two_names(RENAME, (struct names){a, b, 0, flags, from, to}, do_rename2); }
int link(const char *from, const char *to) { return two_names(LINK, (struct names){AT_FDCWD, AT_FDCWD, 0, 0, from, to}, do_link); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return two_names(LINK, (struct names){a, b, flags, 0, from, to}, do_link); }
int symlink(const char *from, const char *to) { return two_names(SYMLINK, (struct names){AT_FDCWD, AT_FDCWD, 0, 0, from, to}, do_symlink); }
int symlinkat(const char *from, int b, const char *to) { return two_names(SYMLINK, (struct names){AT_FDCWD, b, 0, 0, from, to}, do_symlink); }

static int remove_it(int directory, const char *name, int flags)
{
    char path[PATH_MAX];
    uint64_t inode;
    int done;
    if (!is_armed() || !of_name(directory, name, path)) return REAL(unlinkat)(directory, name, flags);
    inode = inode_of(path);
    if (!inode) return REAL(unlinkat)(directory, name, flags);
    if (whole_step(0) == DENY) return -1;
    done = REAL(unlinkat)(directory, name, flags);
    if (done == 0) note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, -1, path, "", inode, 0, 0, "", 0);
    return done;
}

int unlink(const char *name) { return remove_it(AT_FDCWD, name, 0); }
int unlinkat(int directory, const char *name, int flags) { return remove_it(directory, name, flags); }
int rmdir(const char *name) { return remove_it(AT_FDCWD, name, AT_REMOVEDIR); }

static int make_folder(int directory, const char *name, mode_t permissions)
{
    char path[PATH_MAX];
    int done;
    if (!is_armed() || !of_name(directory, name, path)) return REAL(mkdirat)(directory, name, permissions);
    if (whole_step(1) == DENY) return -1;
    done = REAL(mkdirat)(directory, name, permissions);
    if (done == 0) note(MKDIR, -1, path, "", inode_of(path), permissions, 0, "", 0);
    return done;
}

int mkdir(const char *name, mode_t permissions) { return make_folder(AT_FDCWD, name, permissions); }
int mkdirat(int directory, const char *name, mode_t permissions) { return make_folder(directory, name, permissions); }

int chmod(const char *name, mode_t permissions)
{
    char path[PATH_MAX];
    int done;
    if (!is_armed() || !of_name(AT_FDCWD, name, path)) return REAL(chmod)(name, permissions);
    if (whole_step(0) == DENY) return -1;
    done = REAL(chmod)(name, permissions);
    note(CHMOD, -1, path, "", inode_of(path), permissions, done, "", 0);
    return done;
}

int fchmod(int fd, mode_t permissions)
{
    char path[PATH_MAX];
    int done;
    if (!is_armed() || !of_descriptor(fd, path)) return REAL(fchmod)(fd, permissions);
    if (whole_step(0) == DENY) return -1;
    done = REAL(fchmod)(fd, permissions);
    note(CHMOD, fd, path, "", inode_at(fd), permissions, done, "", 0);
    return done;
}
