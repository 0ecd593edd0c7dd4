/* SPDX-License-Identifier: Apache-2.0 */
/* The types that every API group uses, as tables: meta.k8s.io/v1 Status, DeleteOptions, ListMeta, Patch. */
#include "libcommon/cleanup.h"
#include "services/apiserver/openapi_internal.h"

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."

static const struct api_schema text = {.type = API_TYPE_STRING};
static const struct api_schema boolean = {.type = API_TYPE_BOOL};
static const struct api_schema integer = {.type = API_TYPE_INT};
static const struct api_schema texts = {.type = API_TYPE_LIST, .item = &text};

static const struct api_field list_meta_fields[] = {
    {"continue", &text, false, "Token for the next piece of a list that was limited."},
    {"remainingItemCount", &integer, false, "How many objects are left after this piece."},
    {"resourceVersion", &text, false, "State of the store that the list shows; a watch may start here."},
    {"selfLink", &text, false, "Not set; kept for old clients."},
};

const struct api_schema oa_schema_list_meta = {
    .type = API_TYPE_OBJECT,
    .name = META "ListMeta",
    .doc = "What is true of a list as a whole.",
    .fields = list_meta_fields,
    .field_count = AK_ARRAY_SIZE(list_meta_fields),
};

static const struct api_field cause_fields[] = {
    {"field", &text, false, "Path of the field that caused the error, e.g. spec.nics[0].name."},
    {"message", &text, false, "For a person."},
    {"reason", &text, false, "CamelCase cause."},
};

static const struct api_schema cause = {
    .type = API_TYPE_OBJECT,
    .name = META "StatusCause",
    .doc = "One of the causes of a failure.",
    .fields = cause_fields,
    .field_count = AK_ARRAY_SIZE(cause_fields),
};

static const struct api_schema causes = {.type = API_TYPE_LIST, .item = &cause};

static const struct api_field details_fields[] = {
    {"causes", &causes, false, "All that is wrong."},
    {"group", &text, false, "API group of the object."},
    {"kind", &text, false, "Kind of the object."},
    {"name", &text, false, "Name of the object."},
    {"retryAfterSeconds", &integer, false, "When to try again."},
    {"uid", &text, false, "UID of the object."},
};

static const struct api_schema details = {
    .type = API_TYPE_OBJECT,
    .name = META "StatusDetails",
    .doc = "What a Status is about.",
    .fields = details_fields,
    .field_count = AK_ARRAY_SIZE(details_fields),
};

static const struct api_field status_fields[] = {
    {"apiVersion", &text, false, "Version of this representation of the object."},
    {"code", &integer, false, "HTTP status code."},
    {"details", &details, false, "What the answer is about."},
    {"kind", &text, false, "What this object is."},
    {"message", &text, false, "For a person."},
    {"metadata", &oa_schema_list_meta, false, "Empty."},
    {"reason", &text, false, "CamelCase reason of a failure."},
    {"status", &text, false, "Success or Failure."},
};

const struct api_schema oa_schema_status = {
    .type = API_TYPE_OBJECT,
    .name = META "Status",
    .doc = "The answer of a call that does not return another object.",
    .fields = status_fields,
    .field_count = AK_ARRAY_SIZE(status_fields),
};

static const struct api_field preconditions_fields[] = {
    {"resourceVersion", &text, false, "The object must have this resourceVersion."},
    {"uid", &text, false, "The object must have this UID."},
};

static const struct api_schema preconditions = {
    .type = API_TYPE_OBJECT,
    .name = META "Preconditions",
    .doc = "What must be true of the object, else the call is answered with 409.",
    .fields = preconditions_fields,
    .field_count = AK_ARRAY_SIZE(preconditions_fields),
};

static const struct api_field delete_options_fields[] = {
    {"apiVersion", &text, false, "Version of this representation of the object."},
    {"dryRun", &texts, false, "[\"All\"]: check only, change nothing."},
    {"gracePeriodSeconds", &integer, false, "Time for the VM to shut down; 0 = at once."},
    {"kind", &text, false, "What this object is."},
    {"orphanDependents", &boolean, false, "The older form: true is Orphan, false Background."},
    {"preconditions", &preconditions, false, "Checked before anything is deleted."},
    {"propagationPolicy", &text, false,
     "What becomes of dependents: Background (deleted), Foreground (deleted first), Orphan (kept)."},
};

const struct api_schema oa_schema_delete_options = {
    .type = API_TYPE_OBJECT,
    .name = META "DeleteOptions",
    .doc = "How to delete.",
    .fields = delete_options_fields,
    .field_count = AK_ARRAY_SIZE(delete_options_fields),
};

const struct api_schema oa_schema_patch = {
    .type = API_TYPE_OBJECT,
    .name = META "Patch",
    .doc = "A patch; its form is told by the content type.",
};
