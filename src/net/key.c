/* SPDX-License-Identifier: Apache-2.0 */
/* The key that the ranks of a job share: OPENNRT_JOB_KEY, else a file of the user's, made on first
 * use, that nobody else can read. HMAC-SHA256 by libcrypto, which starts when a job is opened. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "net/net_int.h"

#define KEY_FILE ".opennrt-job.key"
#define KEY_HEX  64u /* the file: so many hexadecimal digits and a newline */

bool key_random(void *buf, size_t size)
{
    return RAND_bytes(buf, (int)size) == 1;
}

bool key_mac_equal(const uint8_t *a, const uint8_t *b)
{
    return CRYPTO_memcmp(a, b, MSG_MAC) == 0;
}

static bool mac_run(EVP_MAC_CTX *ctx, const struct key *k, const char *label,
                    const struct key_part *parts, unsigned n, uint8_t mac[MSG_MAC])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    size_t len;

    if (EVP_MAC_init(ctx, k->bytes, sizeof(k->bytes), params) != 1 ||
        EVP_MAC_update(ctx, (const uint8_t *)label, strlen(label) + 1) != 1)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (parts[i].n > 0 && EVP_MAC_update(ctx, parts[i].p, parts[i].n) != 1)
            return false;
    }
    return EVP_MAC_final(ctx, mac, &len, MSG_MAC) == 1 && len == MSG_MAC;
}

bool key_mac(const struct key *k, const char *label, const struct key_part *parts, unsigned n,
             uint8_t mac[MSG_MAC])
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);
    bool ok = ctx != NULL && mac_run(ctx, k, label, parts, n, mac);

    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(hmac);
    return ok;
}

/* The name of a key, which tells nothing about it. */
static NRT_STATUS key_name(struct key *k, struct err *err)
{
    uint8_t mac[MSG_MAC];

    if (!key_mac(k, "opennrt key id", NULL, 0, mac))
        return err_set(err, NRT_FAILURE, "libcrypto gives no HMAC-SHA256");
    memcpy(k->id, mac, MSG_KEY_ID);
    return NRT_SUCCESS;
}

static NRT_STATUS key_given(const char *text, struct key *ret, struct err *err)
{
    unsigned len;

    if (text[0] == '\0')
        return err_set(err, NRT_INVALID,
                       "OPENNRT_JOB_KEY is empty: give it the same secret text on every rank, or "
                       "unset it");
    ret->source = MSG_KEY_GIVEN;
    snprintf(ret->from, sizeof(ret->from), "OPENNRT_JOB_KEY");
    if (EVP_Digest(text, strlen(text), ret->bytes, &len, EVP_sha256(), NULL) != 1)
        return err_set(err, NRT_FAILURE, "libcrypto gives no SHA256");
    return key_name(ret, err);
}

static bool hex_digit(char c, uint8_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);

    if (at == NULL)
        return false;
    *ret = (uint8_t)(at - digits);
    return true;
}

static bool hex_key(const char *text, size_t n, uint8_t bytes[32])
{
    if (n != KEY_HEX + 1 || text[KEY_HEX] != '\n')
        return false;
    for (unsigned i = 0; i < KEY_HEX / 2; i++) {
        uint8_t high, low;

        if (!hex_digit(text[2 * i], &high) || !hex_digit(text[2 * i + 1], &low))
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static NRT_STATUS key_read(int fd, const char *path, struct key *ret, struct err *err)
{
    char text[KEY_HEX + 2];
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077) != 0)
        return err_set(err, NRT_INVALID,
                       "key file %s is not a file of this user with mode 0600: remove it, or set "
                       "OPENNRT_JOB_KEY",
                       path);
    do
        n = read(fd, text, sizeof(text));
    while (n < 0 && errno == EINTR);
    if (n < 0 || !hex_key(text, (size_t)n, ret->bytes))
        return err_set(err, NRT_INVALID,
                       "key file %s does not hold a key: remove it, or set OPENNRT_JOB_KEY", path);
    ret->source = MSG_KEY_FILE;
    snprintf(ret->from, sizeof(ret->from), "%s", path);
    return key_name(ret, err);
}

/* A complete file under a name of its own, then a link: of several ranks that do this at once, one
 * wins and all read the same key. */
static bool key_make(const char *dir, const char *path)
{
    char temp[sizeof(((struct key *)0)->from) + 16], text[KEY_HEX + 2];
    uint8_t bytes[KEY_HEX / 2];
    int fd;
    bool ok;

    if (!key_random(bytes, sizeof(bytes)))
        return false;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[KEY_HEX] = '\n';
    snprintf(temp, sizeof(temp), "%s/.opennrt-key-XXXXXX", dir);
    fd = fd_keep(mkostemp(temp, O_CLOEXEC));
    if (fd < 0)
        return false;
    ok = fd_write_all(fd, text, KEY_HEX + 1);
    close(fd);
    ok = ok && (link(temp, path) == 0 || errno == EEXIST);
    unlink(temp);
    return ok;
}

/* False: this folder gives no key and never will; try the next one. */
static bool key_in(const char *dir, struct key *ret, NRT_STATUS *ret_status, struct err *err)
{
    char path[sizeof(ret->from)];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, KEY_FILE), fd;

    if (dir[0] != '/' || n < 0 || (size_t)n >= sizeof(path) - 16)
        return false;
    fd = fd_keep(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (fd < 0 && errno == ENOENT && key_make(dir, path))
        fd = fd_keep(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (fd < 0 && errno != ELOOP)
        return false;
    if (fd < 0) {
        *ret_status = err_set(err, NRT_INVALID, "key file %s is a symbolic link: remove it", path);
        return true;
    }
    *ret_status = key_read(fd, path, ret, err);
    close(fd);
    return true;
}

NRT_STATUS key_load(const struct net_job_config *cfg, struct key *ret, struct err *err)
{
    const char *dirs[3] = {cfg->key_dirs[0], cfg->key_dirs[1], cfg->key_dirs[2]};
    NRT_STATUS st;

    crypto_start();
    memset(ret, 0, sizeof(*ret));
    if (cfg->key != NULL)
        return key_given(cfg->key, ret, err);
    if (dirs[0] == NULL && dirs[1] == NULL && dirs[2] == NULL) {
        dirs[0] = getenv("OPENNRT_DIR");
        /* Before XDG_RUNTIME_DIR: hosts often share it, and remote shells always have it. */
        dirs[1] = getenv("HOME");
        dirs[2] = getenv("XDG_RUNTIME_DIR");
    }
    for (unsigned i = 0; i < 3; i++) {
        if (dirs[i] != NULL && key_in(dirs[i], ret, &st, err))
            return st;
    }
    return err_set(err, NRT_FAILURE,
                   "no folder for the key file %s (OPENNRT_DIR, HOME, XDG_RUNTIME_DIR): set "
                   "OPENNRT_JOB_KEY to the same secret text on every rank",
                   KEY_FILE);
}
