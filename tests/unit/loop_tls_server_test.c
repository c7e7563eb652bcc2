/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_server.h"

#include <sys/stat.h>

#include "loop/tls_files.h"
#include "loop_certs.h"

static struct {
    char folder[64];
    struct cert ca, server, client;
} certs;

static void refused(struct tls_server_options o, const char *words)
{
    struct tls_server *s = NULL;
    struct errtext t = {0};

    assert_int_not_equal(tls_server_new(&o, &s, &t), ERR_OK);
    assert_null(s);
    if (!strstr(t.s, words))
        fail_msg("\"%s\" does not say \"%s\"", t.s, words);
}

static void what_cannot_be_used_is_named(void **state)
{
    (void)state;
    struct tls_server *s = NULL;
    struct errtext t = {0};
    const struct tls_server_options good = {
        .files = {.ca_file = certs.ca.cert,
                  .cert_file = certs.server.cert,
                  .key_file = certs.server.key},
        .min_minor = 3,
        .verify_clients = true,
        .prefer_server_ciphers = true,
        .cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "
                         "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    };
    struct tls_server_options o = good;

    assert_ok(tls_server_new(&o, &s, &t));
    tls_server_unref(s);
    o.files.cert_file = "/nonexistent";
    refused(o, "cert_file \"/nonexistent\": No such file or directory");
    o = good;
    o.files.cert_file = certs.server.key;
    refused(o, "cert_file \"");
    o = good;
    o.files.key_file = "/nonexistent";
    refused(o, "key_file \"/nonexistent\": No such file or directory");
    o.files.key_file = certs.client.key;
    refused(o, "key values mismatch");
    o = good;
    o.files.ca_file = "/nonexistent";
    refused(o, "ca_file \"/nonexistent\": No such file or directory");
    o.files.ca_file = NULL;
    o.files.ca_path = certs.folder; /* keys are in it */
    refused(o, "ca_path \"");
    o = good;
    o.cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ROT13";
    refused(o, "unsupported cipher \"TLS_ROT13\"");
}

/* Under whatever name, as PEM for libcurl and for OpenSSL. */
static void every_file_of_a_folder_counts(void **state)
{
    (void)state;
    char folder[80], path[100], empty[100];
    struct errtext t = {0};
    struct buf pem;
    FILE *f;

    (void)snprintf(folder, sizeof folder, "%s/cas", certs.folder);
    (void)snprintf(path, sizeof path, "%s/any", folder);
    (void)snprintf(empty, sizeof empty, "%s/folder", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    const struct tls_files files = {.ca_path = folder};
    assert_int_equal(tls_files_pem(&files, &pem, &t), ERR_BAD);
    assert_non_null(strstr(t.s, "no file is in it"));

    assert_int_equal(mkdir(empty, 0700), 0); /* passed over */
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, certs.ca.x), 1);
    assert_int_equal(PEM_write_X509(f, certs.server.x), 1);
    (void)fclose(f);
    assert_ok(tls_files_pem(&files, &pem, &t));
    buf_putc(&pem, 0);
    const char *second = strstr(pem.p + 1, "BEGIN CERTIFICATE");
    assert_non_null(second);
    assert_non_null(strstr(second + 1, "BEGIN CERTIFICATE"));
    buf_fini(&pem);

    struct tls_server *s = NULL;
    const struct tls_server_options o = {
        .files = {.ca_path = folder,
                  .cert_file = certs.server.cert,
                  .key_file = certs.server.key},
        .min_minor = 2,
        .verify_clients = true,
    };
    assert_ok(tls_server_new(&o, &s, &t));
    tls_server_unref(tls_server_ref(s));
    tls_server_unref(s);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(empty), 0);
    assert_int_equal(rmdir(folder), 0);
}

static int make_certs(void **state)
{
    char *folder = certs.folder;

    (void)state;
    (void)snprintf(folder, sizeof certs.folder, "/tmp/muster-tls-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    certs.ca = cert_make(folder, "ca", "ca", NULL, -DAY_S, DAY_S);
    certs.server =
        cert_make(folder, "server", "server", &certs.ca, -DAY_S, DAY_S);
    certs.client =
        cert_make(folder, "client", "client", &certs.ca, -DAY_S, DAY_S);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    cert_fini(&certs.ca);
    cert_fini(&certs.server);
    cert_fini(&certs.client);
    return rmdir(certs.folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_cannot_be_used_is_named),
    cmocka_unit_test(every_file_of_a_folder_counts),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
