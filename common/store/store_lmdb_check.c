/* The file format of LMDB 0.9 (data version 1), as far as it is read here; numbers in the byte
 * order of the machine, which is little-endian everywhere this runs.
 *
 * Page, of the size that the operating system had when the file was created:
 *   0   8  page number
 *   8   2  unused here
 *   10  2  flags, exactly one of: 1 branch, 2 leaf, 4 overflow, 8 meta
 *   12  2  end of the offsets      (overflow: 4 bytes, number of pages)
 *   14  2  beginning of the nodes
 *   16     2 bytes per node: its offset in the page
 * Node: 2 bytes low, 2 bytes high, 2 bytes flags, 2 bytes key size, key, data
 *   leaf    data size = low | high << 16; flags 1: the data is 8 bytes, the first overflow page;
 *           flags 2: the data is the descriptor of a named tree
 *   branch  child = low | high << 16 | flags << 32; the key is above every key left of the child
 *           and not above any in it; that of the first child of a page means nothing
 * Meta, behind the header of pages 0 and 1 (transaction n writes page n & 1):
 *   0    4  magic 0xBEEFC0DE
 *   4    4  version 1
 *   8    8  address
 *   16   8  map size
 *   24  48  descriptor of the tree of free pages (its first 4 bytes: the page size)
 *   72  48  descriptor of the main tree
 *   120  8  last page
 *   128  8  transaction
 * Descriptor of a tree:
 *   0    4  unused
 *   4    2  flags (8: keys are numbers, as in the tree of free pages)
 *   6    2  depth
 *   8    8  branch pages
 *   16   8  leaf pages
 *   24   8  overflow pages
 *   32   8  entries
 *   40   8  root (all ones: empty)
 * An entry of the tree of free pages: key = transaction, data = 8 bytes count, then that many pages
 */
#include "common/store/store_lmdb_check.h"

#include "common/base/bytes.h"
#include "common/base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_HEADER_SIZE = 16,
    PAGE_SIZE_MIN = 512,
    PAGE_SIZE_MAX = 32768,
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    PAGE_META = 8,
    NODE_HEADER_SIZE = 8,
    NODE_BIG_DATA = 1,
    NODE_TREE = 2,
    META_SIZE = 136,
    TREE_SIZE = 48,
    TREE_OF_NUMBERS = 8,        /* flag: keys are 8-byte numbers */
    TREE_FLAG_IGNORED = 0x4000, /* how the file was named when it was created */
    KEY_SIZE_MAX = 511,
    DEPTH_MAX = 32,
    NAMED_TREE_COUNT_MAX = 8,
    DATA_VERSION = 1
};

#define LMDB_MAGIC    UINT32_C(0xBEEFC0DE)
#define ROOT_NONE     UINT64_MAX
#define FILE_SIZE_MAX (UINT64_C(1) << 46) /* half of a process's address space */

typedef struct {
    uint16_t flags;
    uint16_t depth;
    uint64_t entry_count;
    uint64_t root;
} tree_t;

typedef enum { TREE_FREE, TREE_MAIN, TREE_NAMED } tree_kind_t;

/* A key that was passed on the way through a tree. */
typedef struct {
    bool is_set;
    uint16_t size;
    uint8_t bytes[KEY_SIZE_MAX];
} passed_key_t;

typedef struct {
    int fd;
    uint32_t page_size;
    uint64_t page_count; /* whole pages that the file has */
    uint64_t last_page;  /* that the snapshot has given out; may lie behind the end of the file */
    uint8_t *marks;      /* one bit per page of the file: used, or listed as free */
    uint8_t *levels;     /* DEPTH_MAX pages: the way from a root down to where the walk is */
    uint16_t next_node[DEPTH_MAX];
    uint64_t entry_count; /* of the tree being walked */
    passed_key_t last;    /* of the leaves walked so far */
    passed_key_t bound;   /* which the next leaf may not begin below */
    tree_t named[NAMED_TREE_COUNT_MAX];
    unsigned named_count;
    errbuf_t *errbuf;
} checker_t;

/* One node of a leaf, within its page. */
typedef struct {
    uint16_t flags;
    uint32_t data_size;
    const uint8_t *data;
} leaf_node_t;

static err_t s_damaged(checker_t *self, uint64_t page, const char *what)
{
    errbuf_set(self->errbuf, "page %" PRIu64 ": %s", page, what);
    return ERR_CORRUPT;
}

/* errs ERR_CORRUPT the file ends before · ERR_IO */
static err_t s_read_at(int fd, uint64_t offset, void *bytes, size_t size, errbuf_t *errbuf)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            errbuf_set(errbuf, "read at byte %" PRIu64 ": errno %d", offset, errno);
            return ERR_IO;
        }
        if (got == 0) {
            errbuf_set(errbuf, "the file ends before byte %" PRIu64, offset + size);
            return ERR_CORRUPT;
        }
        done += (size_t)got;
    }
    return ERR_OK;
}

static tree_t s_decode_tree(const uint8_t *at)
{
    return (tree_t){bytes_get_u16(at + 4), bytes_get_u16(at + 6), bytes_get_u64(at + 32),
                    bytes_get_u64(at + 40)};
}

/* Counts a page as used; each page may be counted once. */
static err_t s_mark(checker_t *self, uint64_t page)
{
    if (page < 2 || page > self->last_page) {
        return s_damaged(self, page, "a page number out of range is referred to");
    }
    if (page >= self->page_count) {
        /* Only a free page may lie behind the end: given out and dropped, never written. */
        return ERR_END;
    }
    uint8_t bit = (uint8_t)(1U << (page & 7));
    if ((self->marks[page >> 3] & bit) != 0) {
        return s_damaged(self, page, "is used twice, or used and listed as free");
    }
    self->marks[page >> 3] |= bit;
    return ERR_OK;
}

static err_t s_mark_used(checker_t *self, uint64_t page)
{
    err_t err = s_mark(self, page);
    if (err == ERR_END) {
        return s_damaged(self, page, "is in use and lies behind the end of the file");
    }
    return err;
}

static err_t s_check_free_list(checker_t *self, uint64_t page, const uint8_t *data, size_t size)
{
    if (size < 8 || bytes_get_u64(data) > size / 8 - 1) {
        return s_damaged(self, page, "a list of free pages is longer than its entry");
    }
    uint64_t count = bytes_get_u64(data);
    for (uint64_t i = 1; i <= count; i++) {
        err_t err = s_mark(self, bytes_get_u64(data + 8 * i));
        if (err != ERR_OK && err != ERR_END) {
            return err;
        }
    }
    return ERR_OK;
}

/* A value on pages of its own, and what it holds when it is a list of free pages. */
static err_t s_check_big_data(checker_t *self, tree_kind_t kind, const leaf_node_t *node)
{
    uint64_t first = bytes_get_u64(node->data);
    uint64_t count = ((uint64_t)PAGE_HEADER_SIZE - 1 + node->data_size) / self->page_size + 1;
    for (uint64_t i = 0; i < count; i++) {
        err_t err = s_mark_used(self, first + i);
        if (err != ERR_OK) {
            return err;
        }
    }
    uint8_t header[PAGE_HEADER_SIZE];
    uint64_t offset = first * self->page_size;
    err_t err = s_read_at(self->fd, offset, header, sizeof(header), self->errbuf);
    if (err != ERR_OK) {
        return err;
    }
    if (bytes_get_u64(header) != first || bytes_get_u16(header + 10) != PAGE_OVERFLOW ||
        bytes_get_u32(header + 12) != count) {
        return s_damaged(self, first, "is not the overflow page that a value refers to");
    }
    if (kind != TREE_FREE) {
        return ERR_OK;
    }
    uint8_t *list = malloc(node->data_size);
    CHECK(list != NULL);
    err = s_read_at(self->fd, offset + PAGE_HEADER_SIZE, list, node->data_size, self->errbuf);
    if (err == ERR_OK) {
        err = s_check_free_list(self, first, list, node->data_size);
    }
    free(list);
    return err;
}

static err_t s_check_leaf_node(checker_t *self,
                               tree_kind_t kind,
                               uint64_t page,
                               const leaf_node_t *node)
{
    if (node->flags == NODE_BIG_DATA) {
        return s_check_big_data(self, kind, node);
    }
    if (node->flags == NODE_TREE && kind == TREE_MAIN) {
        if (node->data_size != TREE_SIZE || self->named_count == NAMED_TREE_COUNT_MAX) {
            return s_damaged(self, page, "the descriptor of a tree is malformed");
        }
        self->named[self->named_count++] = s_decode_tree(node->data);
        return ERR_OK;
    }
    if (node->flags != 0) {
        return s_damaged(self, page, "a node has unknown flags");
    }
    if (kind == TREE_FREE) {
        return s_check_free_list(self, page, node->data, node->data_size);
    }
    return ERR_OK;
}

/* Number of nodes of a page whose header was checked. */
static unsigned s_node_count(const uint8_t *bytes)
{
    return (bytes_get_u16(bytes + 12) - (unsigned)PAGE_HEADER_SIZE) / 2;
}

/* Where node `index` begins, or NULL when its header or key would leave the page. */
static const uint8_t *s_node_at(const checker_t *self, const uint8_t *bytes, unsigned index)
{
    unsigned offset = bytes_get_u16(bytes + PAGE_HEADER_SIZE + 2 * (size_t)index);
    if (offset < bytes_get_u16(bytes + 14) || offset + NODE_HEADER_SIZE > self->page_size) {
        return NULL;
    }
    unsigned key_size = bytes_get_u16(bytes + offset + 6);
    return offset + NODE_HEADER_SIZE + key_size > self->page_size ? NULL : bytes + offset;
}

static int s_compare_keys(tree_kind_t kind, slice_t a, slice_t b)
{
    if (kind == TREE_FREE) {
        uint64_t number_a = bytes_get_u64(a.data);
        uint64_t number_b = bytes_get_u64(b.data);
        return (number_a > number_b) - (number_a < number_b);
    }
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static slice_t s_passed(const passed_key_t *key)
{
    return slice_make(key->bytes, key->size);
}

static void s_pass(passed_key_t *key, slice_t now)
{
    key->is_set = true;
    key->size = (uint16_t)now.size;
    (void)memcpy(key->bytes, now.data, now.size);
}

static bool s_is_key_sound(tree_kind_t kind, slice_t key)
{
    return kind == TREE_FREE ? key.size == 8 : key.size >= 1 && key.size <= KEY_SIZE_MAX;
}

/* The key of a node that s_node_at returned. */
static slice_t s_node_key(const uint8_t *node)
{
    return slice_make(node + NODE_HEADER_SIZE, bytes_get_u16(node + 6));
}

/* Keys rise along the leaves, and the first of a leaf is not below what its branches promise. */
static err_t s_check_leaf_key(checker_t *self, tree_kind_t kind, uint64_t page, slice_t key)
{
    if (!s_is_key_sound(kind, key)) {
        return s_damaged(self, page, "a key has an impossible size");
    }
    if (self->last.is_set && s_compare_keys(kind, s_passed(&self->last), key) >= 0) {
        return s_damaged(self, page, "keys are out of order");
    }
    if (self->bound.is_set && s_compare_keys(kind, s_passed(&self->bound), key) > 0) {
        return s_damaged(self, page, "a key lies below its branch");
    }
    self->bound.is_set = false;
    s_pass(&self->last, key);
    return ERR_OK;
}

static err_t s_check_leaf(checker_t *self, tree_kind_t kind, uint64_t page, const uint8_t *bytes)
{
    for (unsigned i = 0; i < s_node_count(bytes); i++) {
        const uint8_t *at = s_node_at(self, bytes, i);
        if (at == NULL) {
            return s_damaged(self, page, "a node leaves its page");
        }
        slice_t key = s_node_key(at);
        leaf_node_t node = {bytes_get_u16(at + 4), bytes_get_u32(at), key.data + key.size};
        size_t held = node.flags == NODE_BIG_DATA ? 8 : node.data_size;
        if (held > (size_t)(bytes + self->page_size - node.data)) {
            return s_damaged(self, page, "a value leaves its page");
        }
        err_t err = s_check_leaf_key(self, kind, page, key);
        if (err == ERR_OK) {
            err = s_check_leaf_node(self, kind, page, &node);
        }
        if (err != ERR_OK) {
            return err;
        }
        self->entry_count++;
    }
    return ERR_OK;
}

/* Reads a page of a tree into a level and checks its header. */
static err_t s_read_page(checker_t *self, uint64_t page, uint8_t *ret_bytes)
{
    err_t err = s_mark_used(self, page);
    if (err != ERR_OK) {
        return err;
    }
    err = s_read_at(self->fd, page * self->page_size, ret_bytes, self->page_size, self->errbuf);
    if (err != ERR_OK) {
        return err;
    }
    unsigned kind = bytes_get_u16(ret_bytes + 10);
    unsigned lower = bytes_get_u16(ret_bytes + 12);
    unsigned upper = bytes_get_u16(ret_bytes + 14);
    if (bytes_get_u64(ret_bytes) != page || (kind != PAGE_BRANCH && kind != PAGE_LEAF)) {
        return s_damaged(self, page, "is not the page of a tree that it should be");
    }
    if (lower <= PAGE_HEADER_SIZE || lower > upper || upper > self->page_size || lower % 2 != 0) {
        return s_damaged(self, page, "has an impossible number of nodes");
    }
    return ERR_OK;
}

/* The next child of the branch page at this level; ERR_END when there is none left. */
static err_t s_next_child(checker_t *self, tree_kind_t kind, unsigned level, uint64_t *ret_child)
{
    const uint8_t *bytes = self->levels + (size_t)level * self->page_size;
    uint64_t page = bytes_get_u64(bytes);
    unsigned index = self->next_node[level];
    if (index >= s_node_count(bytes)) {
        return ERR_END;
    }
    const uint8_t *node = s_node_at(self, bytes, index);
    if (node == NULL) {
        return s_damaged(self, page, "a branch leaves its page");
    }
    if (index > 0) {
        slice_t key = s_node_key(node);
        if (!s_is_key_sound(kind, key)) {
            return s_damaged(self, page, "a branch has a key of impossible size");
        }
        if (s_compare_keys(kind, s_passed(&self->last), key) >= 0) {
            return s_damaged(self, page, "branches are out of order");
        }
        s_pass(&self->bound, key);
    }
    self->next_node[level]++;
    *ret_child = bytes_get_u32(node) | (uint64_t)bytes_get_u16(node + 4) << 32;
    return ERR_OK;
}

/* Reads the page and, when it is a leaf, checks it; a branch is left for the walk to descend. */
static err_t s_enter(
    checker_t *self, const tree_t *tree, tree_kind_t kind, unsigned level, uint64_t page)
{
    uint8_t *bytes = self->levels + (size_t)level * self->page_size;
    err_t err = s_read_page(self, page, bytes);
    if (err != ERR_OK) {
        return err;
    }
    bool is_leaf = bytes_get_u16(bytes + 10) == PAGE_LEAF;
    if (is_leaf != (level + 1U == tree->depth)) {
        return s_damaged(self, page, "lies at the wrong depth of its tree");
    }
    self->next_node[level] = is_leaf ? UINT16_MAX : 0;
    return is_leaf ? s_check_leaf(self, kind, page, bytes) : ERR_OK;
}

static err_t s_check_tree(checker_t *self, const tree_t *tree, tree_kind_t kind)
{
    if ((tree->flags & ~TREE_FLAG_IGNORED) != (kind == TREE_FREE ? TREE_OF_NUMBERS : 0)) {
        return s_damaged(self, tree->root, "is the root of a tree of unknown kind");
    }
    if (tree->root == ROOT_NONE) {
        return tree->entry_count == 0 ? ERR_OK : s_damaged(self, 0, "a tree lost its root");
    }
    if (tree->depth < 1 || tree->depth > DEPTH_MAX) {
        return s_damaged(self, tree->root, "is the root of a tree of impossible depth");
    }
    self->entry_count = 0;
    self->last.is_set = false;
    self->bound.is_set = false;
    err_t err = s_enter(self, tree, kind, 0, tree->root);
    unsigned level_count = 1;
    while (err == ERR_OK && level_count > 0) {
        uint64_t child = 0;
        err = s_next_child(self, kind, level_count - 1, &child);
        if (err == ERR_END) {
            level_count--;
            err = ERR_OK;
        } else if (err == ERR_OK) {
            err = s_enter(self, tree, kind, level_count, child);
            level_count++;
        }
    }
    if (err == ERR_OK && self->entry_count != tree->entry_count) {
        return s_damaged(self, tree->root, "is the root of a tree that lost or gained entries");
    }
    return err;
}

static err_t s_check_trees(checker_t *self, const uint8_t *meta)
{
    tree_t free_tree = s_decode_tree(meta + 24);
    tree_t main_tree = s_decode_tree(meta + 72);
    err_t err = s_check_tree(self, &main_tree, TREE_MAIN);
    for (unsigned i = 0; err == ERR_OK && i < self->named_count; i++) {
        err = s_check_tree(self, &self->named[i], TREE_NAMED);
    }
    return err != ERR_OK ? err : s_check_tree(self, &free_tree, TREE_FREE);
}

/* Magic, version and page size of a meta page. */
static err_t s_check_meta(const uint8_t *page, errbuf_t *errbuf)
{
    const uint8_t *meta = page + PAGE_HEADER_SIZE;
    uint32_t page_size = bytes_get_u32(meta + 24);
    if (bytes_get_u16(page + 10) != PAGE_META || bytes_get_u32(meta) != LMDB_MAGIC) {
        errbuf_set(errbuf, "expected the beginning of an LMDB file, found other bytes");
        return ERR_CORRUPT;
    }
    if (bytes_get_u32(meta + 4) != DATA_VERSION) {
        errbuf_set(errbuf, "expected version %d of LMDB's file format, found %" PRIu32,
                   DATA_VERSION, bytes_get_u32(meta + 4));
        return ERR_UNSUPPORTED;
    }
    if (page_size < PAGE_SIZE_MIN || page_size > PAGE_SIZE_MAX ||
        (page_size & (page_size - 1)) != 0) {
        errbuf_set(errbuf, "expected a page size of 512..32768, found %" PRIu32, page_size);
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* Meta page 0 or 1. A page size is known only from page 0, which lies at the beginning. */
static err_t s_read_meta(int fd,
                         unsigned index,
                         uint8_t ret_page[PAGE_HEADER_SIZE + META_SIZE],
                         errbuf_t *errbuf)
{
    uint8_t page[PAGE_HEADER_SIZE + META_SIZE];
    err_t err = s_read_at(fd, 0, page, sizeof(page), errbuf);
    if (err == ERR_OK) {
        err = s_check_meta(page, errbuf);
    }
    if (err == ERR_OK && index == 1) {
        uint32_t page_size = bytes_get_u32(page + PAGE_HEADER_SIZE + 24);
        err = s_read_at(fd, page_size, page, sizeof(page), errbuf);
        if (err == ERR_OK) {
            err = s_check_meta(page, errbuf);
        }
    }
    if (err == ERR_OK) {
        (void)memcpy(ret_page, page, sizeof(page));
    }
    return err;
}

err_t store_lmdb_check_header(int fd, errbuf_t *errbuf)
{
    uint8_t page[PAGE_HEADER_SIZE + META_SIZE];
    return s_read_meta(fd, 1, page, errbuf);
}

err_t store_lmdb_check(int fd, uint64_t txn_id, errbuf_t *errbuf)
{
    uint8_t page[PAGE_HEADER_SIZE + META_SIZE];
    err_t err = s_read_meta(fd, (unsigned)(txn_id & 1), page, errbuf);
    if (err != ERR_OK) {
        return err;
    }
    const uint8_t *meta = page + PAGE_HEADER_SIZE;
    if (bytes_get_u64(meta + 128) != txn_id) {
        errbuf_set(errbuf, "the writer went on meanwhile");
        return ERR_STALE;
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        errbuf_set(errbuf, "fstat: errno %d", errno);
        return ERR_IO;
    }
    checker_t self = {.fd = fd, .page_size = bytes_get_u32(meta + 24), .errbuf = errbuf};
    self.page_count = (uint64_t)status.st_size / self.page_size;
    self.last_page = bytes_get_u64(meta + 120);
    self.marks = calloc(self.page_count / 8 + 1, 1);
    self.levels = malloc((size_t)DEPTH_MAX * self.page_size);
    CHECK(self.marks != NULL);
    CHECK(self.levels != NULL);
    err = s_check_trees(&self, meta);
    free(self.levels);
    free(self.marks);
    return err;
}
