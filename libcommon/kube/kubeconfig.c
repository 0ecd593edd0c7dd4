/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/kube/kubeconfig.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The file as libcyaml reads it. */
struct doc_cluster {
        char *server, *ca_file, *ca_data, *tls_server_name;
        bool insecure;
};
struct doc_user {
        char *cert_file, *cert_data, *key_file, *key_data, *token, *token_file;
};
struct doc_context {
        char *cluster, *user, *name_space;
};
struct doc_named_cluster {
        char *name;
        struct doc_cluster *value;
};
struct doc_named_user {
        char *name;
        struct doc_user *value;
};
struct doc_named_context {
        char *name;
        struct doc_context *value;
};
struct doc {
        struct doc_named_cluster *clusters;
        uint32_t clusters_count;
        struct doc_named_user *users;
        uint32_t users_count;
        struct doc_named_context *contexts;
        uint32_t contexts_count;
        char *current_context;
};

#define FIELD_STR(key, type, member)                                                                         \
        CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER_NULL_STR | CYAML_FLAG_OPTIONAL, type, member, 0,      \
                               AK_KUBECONFIG_MAX_BYTES)

static const cyaml_schema_field_t cluster_fields[] = {
    FIELD_STR("server", struct doc_cluster, server),
    FIELD_STR("certificate-authority", struct doc_cluster, ca_file),
    FIELD_STR("certificate-authority-data", struct doc_cluster, ca_data),
    FIELD_STR("tls-server-name", struct doc_cluster, tls_server_name),
    CYAML_FIELD_BOOL("insecure-skip-tls-verify", CYAML_FLAG_OPTIONAL, struct doc_cluster, insecure),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t user_fields[] = {
    FIELD_STR("client-certificate", struct doc_user, cert_file),
    FIELD_STR("client-certificate-data", struct doc_user, cert_data),
    FIELD_STR("client-key", struct doc_user, key_file),
    FIELD_STR("client-key-data", struct doc_user, key_data),
    FIELD_STR("token", struct doc_user, token),
    FIELD_STR("tokenFile", struct doc_user, token_file),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t context_fields[] = {
    FIELD_STR("cluster", struct doc_context, cluster),
    FIELD_STR("user", struct doc_context, user),
    FIELD_STR("namespace", struct doc_context, name_space),
    CYAML_FIELD_END,
};

#define NAMED(kind, key)                                                                                     \
        static const cyaml_schema_field_t named_##kind##_fields[] = {                                        \
            FIELD_STR("name", struct doc_named_##kind, name),                                                \
            CYAML_FIELD_MAPPING_PTR(key, CYAML_FLAG_POINTER_NULL_STR | CYAML_FLAG_OPTIONAL,                  \
                                    struct doc_named_##kind, value, kind##_fields),                          \
            CYAML_FIELD_END,                                                                                 \
        };                                                                                                   \
        static const cyaml_schema_value_t named_##kind = {                                                   \
            CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct doc_named_##kind, named_##kind##_fields)}
NAMED(cluster, "cluster");
NAMED(user, "user");
NAMED(context, "context");

#define DOC_MAX_ENTRIES 1024
#define FIELD_LIST(key, member, entry)                                                                       \
        CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER_NULL_STR | CYAML_FLAG_OPTIONAL, struct doc, member,     \
                             &entry, 0, DOC_MAX_ENTRIES)
static const cyaml_schema_field_t doc_fields[] = {
    FIELD_LIST("clusters", clusters, named_cluster),
    FIELD_LIST("users", users, named_user),
    FIELD_LIST("contexts", contexts, named_context),
    FIELD_STR("current-context", struct doc, current_context),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t doc_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct doc, doc_fields)};

/* libcyaml tells through a log callback where the text is wrong; the first such line becomes the error. */
AK_PRINTF(3, 0)
static void capture_log(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
        char *error = ctx;
        if (level < CYAML_LOG_ERROR || error[0] != '\0')
                return;
        (void)vsnprintf(error, AK_KUBECONFIG_ERROR_SIZE, format, args);
        error[strcspn(error, "\n")] = '\0';
}

static cyaml_config_t doc_config(char *error)
{
        return (cyaml_config_t){
            .log_fn = capture_log,
            .log_ctx = error,
            .mem_fn = cyaml_mem,
            .log_level = CYAML_LOG_ERROR,
            .flags = CYAML_CFG_IGNORE_UNKNOWN_KEYS | CYAML_CFG_NO_ALIAS,
        };
}

AK_PRINTF(3, 4)
static int fail(char *error, int rc, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error, AK_KUBECONFIG_ERROR_SIZE, format, args);
        va_end(args);
        return rc;
}

static void wipe(char **secret)
{
        if (*secret)
                gnutls_memset(*secret, 0, strlen(*secret));
        free(*secret);
        *secret = NULL;
}

static void fclosep(FILE **file)
{
        if (*file)
                (void)fclose(*file);
}

static int read_stream(FILE *file, char **out, size_t *out_len)
{
        AK_AUTOFREE char *data = malloc(AK_KUBECONFIG_MAX_BYTES + 1);
        if (!data)
                return -ENOMEM;
        size_t len = fread(data, 1, AK_KUBECONFIG_MAX_BYTES + 1, file);
        if (ferror(file))
                return -EIO;
        if (len > AK_KUBECONFIG_MAX_BYTES)
                return -EFBIG;
        data[len] = '\0';
        char *shrunk = realloc(data, len + 1);
        if (shrunk)
                data = shrunk;
        *out_len = len;
        *out = AK_STEAL(data);
        return 0;
}

static int read_file(const char *path, char **out, size_t *out_len, char *error)
{
        AK_CLEANUP(fclosep) FILE *file = fopen(path, "re");
        if (!file)
                return fail(error, -errno, "%s: %s", path, strerror(errno));
        int rc = read_stream(file, out, out_len);
        if (rc < 0)
                return fail(error, rc, "%s: %s", path, strerror(-rc));
        return 0;
}

static int read_relative(const char *base_dir, const char *path, char **out, char *error)
{
        AK_AUTOFREE char *joined = NULL;
        size_t len;
        if (path[0] == '/' || !base_dir || base_dir[0] == '\0')
                return read_file(path, out, &len, error);
        if (asprintf(&joined, "%s/%s", base_dir, path) < 0)
                return fail(error, -ENOMEM, "out of memory");
        return read_file(joined, out, &len, error);
}

static int decode_base64(const char *key, const char *text, char **out, char *error)
{
        AK_AUTOFREE char *packed = strdup(text);
        if (!packed)
                return fail(error, -ENOMEM, "out of memory");
        /* A folded YAML scalar may leave blanks inside; base64 does not know them. */
        size_t n = 0;
        for (const char *c = text; *c; c++)
                if (*c != ' ' && *c != '\n' && *c != '\r' && *c != '\t')
                        packed[n++] = *c;
        gnutls_datum_t in = {(unsigned char *)packed, (unsigned int)n}, decoded = {NULL, 0};
        int rc = gnutls_base64_decode2(&in, &decoded);
        gnutls_memset(packed, 0, n);
        if (rc < 0)
                return fail(error, -EINVAL, "%s is not base64: %s", key, gnutls_strerror(rc));
        char *value = strndup((const char *)decoded.data, decoded.size);
        gnutls_memset(decoded.data, 0, decoded.size);
        gnutls_free(decoded.data);
        if (!value)
                return fail(error, -ENOMEM, "out of memory");
        *out = value;
        return 0;
}

static bool given(const char *text)
{
        return text && text[0] != '\0';
}

/* Data wins over a file, as in client-go. Leaves *out NULL where neither is given. */
static int data_or_file(const char *base_dir, const char *key, const char *data, const char *file, char **out,
                        char *error)
{
        if (given(data))
                return decode_base64(key, data, out, error);
        if (given(file))
                return read_relative(base_dir, file, out, error);
        return 0;
}

static int copy_string(const char *text, char **out, char *error)
{
        if (!given(text))
                return 0;
        *out = strdup(text);
        return *out ? 0 : fail(error, -ENOMEM, "out of memory");
}

static int set_server(struct ak_kubeconfig *c, const char *server, char *error)
{
        if (!given(server))
                return fail(error, -EINVAL, "the cluster names no server");
        if (strncmp(server, "https://", 8) != 0 && strncmp(server, "http://", 7) != 0)
                return fail(error, -EINVAL, "server \"%.100s\": expected https://HOST:PORT", server);
        int rc = copy_string(server, &c->server, error);
        for (size_t n = rc == 0 ? strlen(c->server) : 0; n > 0 && c->server[n - 1] == '/'; n--)
                c->server[n - 1] = '\0';
        return rc;
}

static int set_cluster(struct ak_kubeconfig *c, const struct doc_cluster *cluster, const char *base_dir,
                       char *error)
{
        int rc = set_server(c, cluster->server, error);
        if (rc == 0)
                rc = data_or_file(base_dir, "certificate-authority-data", cluster->ca_data, cluster->ca_file,
                                  &c->ca_pem, error);
        if (rc == 0)
                rc = copy_string(cluster->tls_server_name, &c->tls_server_name, error);
        c->insecure = cluster->insecure;
        return rc;
}

static int set_token(struct ak_kubeconfig *c, const struct doc_user *user, const char *base_dir, char *error)
{
        if (given(user->token))
                return copy_string(user->token, &c->token, error);
        int rc = given(user->token_file) ? read_relative(base_dir, user->token_file, &c->token, error) : 0;
        if (rc == 0 && c->token)
                c->token[strcspn(c->token, "\r\n")] = '\0';
        return rc;
}

static int set_user(struct ak_kubeconfig *c, const struct doc_user *user, const char *base_dir, char *error)
{
        int rc = data_or_file(base_dir, "client-certificate-data", user->cert_data, user->cert_file,
                              &c->cert_pem, error);
        if (rc == 0)
                rc = data_or_file(base_dir, "client-key-data", user->key_data, user->key_file, &c->key_pem,
                                  error);
        if (rc == 0)
                rc = set_token(c, user, base_dir, error);
        if (rc == 0 && !c->cert_pem != !c->key_pem)
                return fail(error, -EINVAL, "the user has a client certificate or a client key, not both");
        if (rc == 0 && c->token && strpbrk(c->token, "\r\n"))
                return fail(error, -EINVAL, "the user's token has a line break in it");
        return rc;
}

#define FIND(list, wanted)                                                                                   \
        __extension__({                                                                                      \
                const __typeof__((list)[0]) *found_ = NULL;                                                  \
                for (uint32_t i_ = 0; i_ < list##_count; i_++)                                               \
                        if (list[i_].name && strcmp(list[i_].name, wanted) == 0)                             \
                                found_ = &list[i_];                                                          \
                found_;                                                                                      \
        })

static int select_context(const struct doc *doc, const char *wanted, const struct doc_context **out,
                          char *error)
{
        const char *name = given(wanted) ? wanted : doc->current_context;
        if (!given(name))
                return fail(error, -ENOENT, "no current-context; name one");
        const struct doc_named_context *found = FIND(doc->contexts, name);
        if (!found || !found->value)
                return fail(error, -ENOENT, "no context \"%.100s\"", name);
        if (!given(found->value->cluster))
                return fail(error, -EINVAL, "context \"%.100s\" names no cluster", name);
        *out = found->value;
        return 0;
}

static int fill(struct ak_kubeconfig *c, const struct doc *doc, const char *base_dir, const char *wanted,
                char *error)
{
        const struct doc_context *context = NULL;
        int rc = select_context(doc, wanted, &context, error);
        if (rc < 0 || !context)
                return rc;
        const struct doc_named_cluster *cluster = FIND(doc->clusters, context->cluster);
        if (!cluster || !cluster->value)
                return fail(error, -ENOENT, "no cluster \"%.100s\"", context->cluster);
        rc = set_cluster(c, cluster->value, base_dir, error);
        if (rc == 0)
                rc = copy_string(given(context->name_space) ? context->name_space : "default", &c->name_space,
                                 error);
        if (rc < 0 || !given(context->user))
                return rc;
        const struct doc_named_user *user = FIND(doc->users, context->user);
        if (!user)
                return fail(error, -ENOENT, "no user \"%.100s\"", context->user);
        return user->value ? set_user(c, user->value, base_dir, error) : 0;
}

int ak_kubeconfig_parse(struct ak_kubeconfig *out, const char *text, size_t len, const char *base_dir,
                        const char *context, char error[AK_KUBECONFIG_ERROR_SIZE])
{
        error[0] = '\0';
        if (len > AK_KUBECONFIG_MAX_BYTES)
                return fail(error, -EFBIG, "more than %d bytes", AK_KUBECONFIG_MAX_BYTES);
        cyaml_config_t config = doc_config(error);
        struct doc *doc = NULL;
        cyaml_err_t err =
            cyaml_load_data((const uint8_t *)text, len, &config, &doc_schema, (cyaml_data_t **)&doc, NULL);
        if (err != CYAML_OK)
                return error[0] ? -EINVAL : fail(error, -EINVAL, "not YAML: %s", cyaml_strerror(err));
        if (!doc)
                return fail(error, -EINVAL, "empty");
        struct ak_kubeconfig filled = {0};
        int rc = fill(&filled, doc, base_dir, context, error);
        (void)cyaml_free(&config, &doc_schema, doc, 0);
        if (rc < 0) {
                ak_kubeconfig_deinit(&filled);
                return rc;
        }
        *out = filled;
        return 0;
}

int ak_kubeconfig_load(struct ak_kubeconfig *out, const char *path, const char *context,
                       char error[AK_KUBECONFIG_ERROR_SIZE])
{
        AK_CLEANUP(wipe) char *text = NULL;
        AK_AUTOFREE char *dir = strdup(path);
        char inner[AK_KUBECONFIG_ERROR_SIZE] = "";
        size_t len = 0;
        if (!dir)
                return fail(error, -ENOMEM, "out of memory");
        int rc = read_file(path, &text, &len, error);
        if (rc < 0)
                return rc;
        char *slash = strrchr(dir, '/');
        if (slash)
                slash[slash == dir] = '\0';
        rc = ak_kubeconfig_parse(out, text, len, slash ? dir : NULL, context, inner);
        return rc < 0 ? fail(error, rc, "%.120s: %.130s", path, inner) : 0;
}

void ak_kubeconfig_deinit(struct ak_kubeconfig *config)
{
        wipe(&config->key_pem);
        wipe(&config->token);
        free(config->server);
        free(config->ca_pem);
        free(config->cert_pem);
        free(config->name_space);
        free(config->tls_server_name);
        *config = (struct ak_kubeconfig){0};
}
