/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three patches by themselves. What a strategic merge patch must do is taken from Kubernetes'
 * documents (sig-api-machinery/strategic-merge-patch.md) and the behaviour of its apimachinery.
 */
#include "services/apiserver/test_core_util.h"

#include <string.h>

static json_t *strategic(const char *original, const char *patch, char error[API_ERROR_SIZE])
{
        json_t *o = json_of("%s", original), *p = json_of("%s", patch), *result;
        json_t *before = json_deep_copy(o);

        error[0] = '\0';
        result = api_patch_strategic(api_kind_pod.schema, o, p, error);
        assert_true(json_equal(o, before)); /* the stored object is never touched */
        json_decref(before);
        json_decref(o);
        json_decref(p);
        return result;
}

static void assert_same(json_t *result, const char *expected, const char *what)
{
        json_t *e = json_of("%s", expected);

        if (!result || !json_equal(result, e)) {
                AK_AUTOFREE char *text = json_dumps(result, JSON_ENCODE_ANY);
                fail_msg("%s: %s instead of %s", what, text ? text : "nothing", expected);
        }
        json_decref(e);
        json_decref(result);
}

static void test_strategic(void **state)
{
        static const char *const cases[][3] = {
            /* original, patch, result */
            {"{'spec': {'vpc': 'v'}}", "{'spec': {'hostname': 'h'}}",
             "{'spec': {'vpc': 'v', 'hostname': 'h'}}"},
            {"{'spec': {'vpc': 'v'}}", "{'spec': {'vpc': null}}", "{'spec': {}}"},
            {"{'spec': {}}", "{'spec': {'vpc': null}}", "{'spec': {}}"},
            {"{}", "{'spec': {'vpc': null}}", "{'spec': {}}"},
            {"{'a': 1}", "{}", "{'a': 1}"},
            /* lists of a merge key */
            {"{'spec': {'nics': [{'name': 'eth0', 'mtu': 1}]}}", "{'spec': {'nics': [{'name': 'eth1'}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'mtu': 1}, {'name': 'eth1'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0', 'mtu': 1}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'tag': 'x'}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'mtu': 1, 'tag': 'x'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0', 'mtu': 1}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'mtu': null}]}}", "{'spec': {'nics': [{'name': 'eth0'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0'}, {'name': 'eth1'}, {'name': 'eth2'}]}}",
             "{'spec': {'nics': [{'$patch': 'delete', 'name': 'eth1'}]}}",
             "{'spec': {'nics': [{'name': 'eth0'}, {'name': 'eth2'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0'}]}}",
             "{'spec': {'nics': [{'$patch': 'delete', 'name': 'eth9'}]}}",
             "{'spec': {'nics': [{'name': 'eth0'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0'}, {'name': 'eth1'}]}}",
             "{'spec': {'nics': [{'$patch': 'replace'}, {'name': 'eth2'}]}}",
             "{'spec': {'nics': [{'name': 'eth2'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0'}]}}", "{'spec': {'nics': [{'$patch': 'replace'}]}}",
             "{'spec': {'nics': []}}"},
            {"{'spec': {'nics': [{'name': 'eth0', 'mtu': 1}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'tag': 'x', '$patch': 'replace'}]}}",
             "{'spec': {'nics': []}}"},
            {"{}", "{'spec': {'nics': [{'name': 'eth0'}, {'$patch': 'delete', 'name': 'eth1'}]}}",
             "{'spec': {'nics': [{'name': 'eth0'}]}}"},
            {"{'spec': {'nics': [{'name': 'eth0'}]}}", "{'spec': {'nics': null}}", "{'spec': {}}"},
            /* lists without one are replaced */
            {"{'spec': {'tolerations': [{'key': 'a'}]}}", "{'spec': {'tolerations': [{'key': 'b'}]}}",
             "{'spec': {'tolerations': [{'key': 'b'}]}}"},
            /* objects */
            {"{'spec': {'virtualMachine': {'name': 'a', 'image': 'i'}}}",
             "{'spec': {'virtualMachine': {'$patch': 'replace', 'name': 'b'}}}",
             "{'spec': {'virtualMachine': {'name': 'b'}}}"},
            {"{'spec': {'vpc': 'v', 'virtualMachine': {'name': 'a'}}}",
             "{'spec': {'virtualMachine': {'$patch': 'delete'}}}",
             "{'spec': {'vpc': 'v', 'virtualMachine': {}}}"},
            {"{'spec': {'virtualMachine': {'name': 'a'}}}",
             "{'spec': {'virtualMachine': {'$patch': 'merge', 'image': 'i'}}}",
             "{'spec': {'virtualMachine': {'name': 'a', 'image': 'i'}}}"},
            {"{'spec': {'nodeSelector': {'a': '1', 'b': '2', 'c': '3'}}}",
             "{'spec': {'nodeSelector': {'$retainKeys': ['b', 'd'], 'd': '4'}}}",
             "{'spec': {'nodeSelector': {'b': '2', 'd': '4'}}}"},
            {"{'metadata': {'labels': {'a': '1'}}}", "{'metadata': {'labels': {'a': null, 'b': '2'}}}",
             "{'metadata': {'labels': {'b': '2'}}}"},
            /* lists of scalars with merge strategy */
            {"{'metadata': {'finalizers': ['a', 'b']}}", "{'metadata': {'finalizers': ['b', 'c']}}",
             "{'metadata': {'finalizers': ['a', 'b', 'c']}}"},
            {"{'metadata': {'finalizers': ['a', 'b', 'a']}}",
             "{'metadata': {'$deleteFromPrimitiveList/finalizers': ['a']}}",
             "{'metadata': {'finalizers': ['b']}}"},
            {"{'metadata': {}}", "{'metadata': {'$deleteFromPrimitiveList/finalizers': ['a']}}",
             "{'metadata': {}}"},
            {"{'metadata': {'finalizers': ['a', 'b']}}",
             "{'metadata': {'$deleteFromPrimitiveList/finalizers': ['a'], 'finalizers': ['c'], "
             "'$setElementOrder/finalizers': ['c', 'b']}}",
             "{'metadata': {'finalizers': ['c', 'b']}}"},
            /* order: the patch's for its items, the server's for the others, between them by the server's */
            {"{'spec': {'nics': [{'name': 'a'}, {'name': 'b'}, {'name': 'c'}]}}",
             "{'spec': {'$setElementOrder/nics': [{'name': 'c'}, {'name': 'b'}, {'name': 'a'}]}}",
             "{'spec': {'nics': [{'name': 'c'}, {'name': 'b'}, {'name': 'a'}]}}"},
            {"{'spec': {'nics': [{'name': 'a'}, {'name': 'b'}, {'name': 'c'}]}}",
             "{'spec': {'$setElementOrder/nics': [{'name': 'c'}, {'name': 'a'}]}}",
             "{'spec': {'nics': [{'name': 'b'}, {'name': 'c'}, {'name': 'a'}]}}"},
            {"{'spec': {'nics': [{'name': 'a'}, {'name': 'x'}, {'name': 'b'}]}}",
             "{'spec': {'$setElementOrder/nics': [{'name': 'a'}, {'name': 'b'}, {'name': 'c'}], 'nics': "
             "[{'name': "
             "'c'}]}}",
             "{'spec': {'nics': [{'name': 'a'}, {'name': 'x'}, {'name': 'b'}, {'name': 'c'}]}}"},
            /* kubectl apply: a NIC taken out of the file */
            {"{'spec': {'nics': [{'name': 'eth0', 'portId': 'p0'}, {'name': 'eth1', 'portId': 'p1'}]}}",
             "{'spec': {'$setElementOrder/nics': [{'name': 'eth0'}], 'nics': [{'$patch': 'delete', 'name': "
             "'eth1'}]}}",
             "{'spec': {'nics': [{'name': 'eth0', 'portId': 'p0'}]}}"},
            /* conditions by type */
            {"{'status': {'conditions': [{'type': 'Ready', 'status': 'False', 'reason': 'r'}]}}",
             "{'status': {'conditions': [{'type': 'Ready', 'status': 'True'}, {'type': 'X', 'status': "
             "'True'}]}}",
             "{'status': {'conditions': [{'type': 'Ready', 'status': 'True', 'reason': 'r'}, {'type': 'X', "
             "'status': 'True'}]}}"},
            /* whole types change */
            {"{'spec': 'text'}", "{'spec': {'vpc': 'v'}}", "{'spec': {'vpc': 'v'}}"},
            {"{'spec': {'nics': {'a': 1}}}", "{'spec': {'nics': [{'name': 'x'}]}}",
             "{'spec': {'nics': [{'name': 'x'}]}}"},
            {"{'spec': {}}", "{'$patch': 'delete'}", "{}"},
            {"{'spec': {}, 'a': 1}", "{'$patch': 'replace', 'b': 2}", "{'b': 2}"},
        };
        char error[API_ERROR_SIZE];

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *result = strategic(cases[i][0], cases[i][1], error);
                if (!result)
                        fail_msg("%s: %s", cases[i][1], error);
                assert_same(result, cases[i][2], cases[i][1]);
        }
}

static void test_strategic_errors(void **state)
{
        static const char *const cases[][2] = {
            {"{'spec': {'nics': [{'tag': 'x'}]}}", "spec.nics[0]: does not contain declared merge key: name"},
            {"{'spec': {'nics': ['eth1']}}", "does not contain declared merge key: name"},
            {"{'spec': {'nics': [{'$patch': 'delete'}]}}", "does not contain declared merge key: name"},
            {"{'spec': {'$patch': 'explode'}}", "spec: $patch must be replace, delete or merge"},
            {"{'spec': {'nics': [{'name': 'a', '$patch': 'explode'}]}}", "$patch must be"},
            {"{'spec': {'$patch': 1}}", "$patch must be"},
            {"{'spec': {'$frobnicate': 1}}", "unknown directive"},
            {"{'spec': {'$retainKeys': 'x'}}", "$retainKeys takes a list of"},
            {"{'spec': {'$retainKeys': ['a'], 'vpc': 'v'}}", "$retainKeys"},
            {"{'spec': {'$setElementOrder/nics': 'x'}}", "takes a list of"},
            {"{'metadata': {'$deleteFromPrimitiveList/finalizers': {}}}", "takes a list of"},
            {"[]", "must be an object"},
            {"'x'", "must be an object"},
        };
        char error[API_ERROR_SIZE];

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *result =
                    strategic("{'spec': {'nics': [{'name': 'a'}]}, 'metadata': {'finalizers': ['a']}}",
                              cases[i][0], error);
                if (result || !strstr(error, cases[i][1]))
                        fail_msg("%s: %s", cases[i][0], result ? "accepted" : error);
        }
}

static json_t *nested(int depth)
{
        json_t *json = json_object();

        for (int i = 0; i < depth; i++)
                json = json_pack("{s:o}", "a", json);
        return json;
}

/* A client can make none of them recurse or work without a bound. */
static void test_bounds(void **state)
{
        json_t *deep = nested(2000), *original = json_of("{'metadata': {'finalizers': []}}"),
               *list = json_array();
        json_t *patch, *ops = json_array();
        char error[API_ERROR_SIZE] = "";

        (void)state;
        assert_null(api_patch_strategic(api_kind_pod.schema, original, deep, error));
        assert_non_null(strstr(error, "too deep"));
        json_t *merged = api_patch_merge(original, deep);
        assert_non_null(merged);
        json_decref(merged);
        json_decref(deep);

        for (int i = 0; i < 100000; i++)
                (void)json_array_append_new(list, json_sprintf("f%d", i));
        patch = json_pack("{s:{s:o}}", "metadata", "finalizers", list);
        error[0] = '\0';
        assert_null(api_patch_strategic(api_kind_pod.schema, original, patch, error));
        assert_non_null(strstr(error, "metadata.finalizers"));
        json_decref(patch);

        /* Each copy doubles the document. */
        for (int i = 0; i < 40; i++)
                (void)json_array_append_new(ops, json_pack("{s:s, s:s, s:s}", "op", "copy", "from",
                                                           "/metadata", "path", "/metadata/x"));
        for (int i = 0; i < 40; i++) {
                (void)json_array_append_new(ops, json_pack("{s:s, s:s, s:o}", "op", "copy", "from", "",
                                                           "path", json_sprintf("/metadata/x%d", i)));
        }
        error[0] = '\0';
        assert_null(api_patch_json(original, ops, error));
        assert_non_null(strstr(error, "too much"));
        json_decref(ops);
        json_decref(original);
}

static void test_merge(void **state)
{
        /* Appendix A of RFC 7396, less the cases whose original is not an object here. */
        static const char *const cases[][3] = {
            {"{'a': 'b'}", "{'a': 'c'}", "{'a': 'c'}"},
            {"{'a': 'b'}", "{'b': 'c'}", "{'a': 'b', 'b': 'c'}"},
            {"{'a': 'b'}", "{'a': null}", "{}"},
            {"{'a': 'b', 'b': 'c'}", "{'a': null}", "{'b': 'c'}"},
            {"{'a': ['b']}", "{'a': 'c'}", "{'a': 'c'}"},
            {"{'a': 'c'}", "{'a': ['b']}", "{'a': ['b']}"},
            {"{'a': {'b': 'c'}}", "{'a': {'b': 'd', 'c': null}}", "{'a': {'b': 'd'}}"},
            {"{'a': [{'b': 'c'}]}", "{'a': [1]}", "{'a': [1]}"},
            {"['a', 'b']", "['c', 'd']", "['c', 'd']"},
            {"{'a': 'b'}", "['c']", "['c']"},
            {"{'e': null}", "{'a': 1}", "{'e': null, 'a': 1}"},
            {"[1, 2]", "{'a': 'b', 'c': null}", "{'a': 'b'}"},
            {"{}", "{'a': {'bb': {'ccc': null}}}", "{'a': {'bb': {}}}"},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *o = json_of("%s", cases[i][0]), *p = json_of("%s", cases[i][1]);
                assert_same(api_patch_merge(o, p), cases[i][2], cases[i][1]);
                json_decref(o);
                json_decref(p);
        }
}

static void test_json_patch(void **state)
{
        /* Appendix A of RFC 6902 and the corners of RFC 6901; result NULL = refused. */
        static const char *const cases[][3] = {
            {"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz', 'value': 'qux'}]",
             "{'baz': 'qux', 'foo': 'bar'}"},
            {"{'foo': ['bar', 'baz']}", "[{'op': 'add', 'path': '/foo/1', 'value': 'qux'}]",
             "{'foo': ['bar', 'qux', 'baz']}"},
            {"{'baz': 'qux', 'foo': 'bar'}", "[{'op': 'remove', 'path': '/baz'}]", "{'foo': 'bar'}"},
            {"{'foo': ['bar', 'qux', 'baz']}", "[{'op': 'remove', 'path': '/foo/1'}]",
             "{'foo': ['bar', 'baz']}"},
            {"{'baz': 'qux'}", "[{'op': 'replace', 'path': '/baz', 'value': 'boo'}]", "{'baz': 'boo'}"},
            {"{'foo': {'bar': 'baz', 'waldo': 'fred'}, 'qux': {'corge': 'grault'}}",
             "[{'op': 'move', 'from': '/foo/waldo', 'path': '/qux/thud'}]",
             "{'foo': {'bar': 'baz'}, 'qux': {'corge': 'grault', 'thud': 'fred'}}"},
            {"{'foo': ['all', 'grass', 'cows', 'eat']}",
             "[{'op': 'move', 'from': '/foo/1', 'path': '/foo/3'}]",
             "{'foo': ['all', 'cows', 'eat', 'grass']}"},
            {"{'baz': 'qux', 'foo': ['a', 2, 'c']}",
             "[{'op': 'test', 'path': '/baz', 'value': 'qux'}, {'op': 'test', 'path': '/foo/1', 'value': 2}]",
             "{'baz': 'qux', 'foo': ['a', 2, 'c']}"},
            {"{'baz': 'qux'}", "[{'op': 'test', 'path': '/baz', 'value': 'bar'}]", NULL},
            {"{'foo': 'bar'}", "[{'op': 'add', 'path': '/child', 'value': {'grandchild': {}}}]",
             "{'foo': 'bar', 'child': {'grandchild': {}}}"},
            {"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz', 'value': 'qux', 'xyz': 123}]",
             "{'foo': 'bar', 'baz': 'qux'}"},
            {"{'foo': 'bar'}", "[{'op': 'add', 'path': '/baz/bat', 'value': 'qux'}]", NULL},
            {"{'/': 9, '~1': 10}", "[{'op': 'test', 'path': '/~01', 'value': 10}]", "{'/': 9, '~1': 10}"},
            {"{'/': 9, '~1': 10}", "[{'op': 'test', 'path': '/~1', 'value': 9}]", "{'/': 9, '~1': 10}"},
            {"{'/': 9}", "[{'op': 'test', 'path': '/~2', 'value': 9}]", NULL},
            {"{'foo': ['bar']}", "[{'op': 'add', 'path': '/foo/-', 'value': ['abc', 'def']}]",
             "{'foo': ['bar', ['abc', 'def']]}"},
            {"{'foo': ['bar']}", "[{'op': 'add', 'path': '/foo/1', 'value': 1}]", "{'foo': ['bar', 1]}"},
            {"{'foo': ['bar']}", "[{'op': 'add', 'path': '/foo/2', 'value': 1}]", NULL},
            {"{'foo': ['bar']}", "[{'op': 'add', 'path': '/foo/01', 'value': 1}]", NULL},
            {"{'foo': ['bar']}", "[{'op': 'replace', 'path': '/foo/-', 'value': 1}]", NULL},
            {"{'foo': ['bar']}", "[{'op': 'remove', 'path': '/foo/99999999999999999999'}]", NULL},
            {"{'foo': ['bar']}", "[{'op': 'remove', 'path': '/foo/-1'}]", NULL},
            {"{'a': 1}", "[{'op': 'replace', 'path': '/b', 'value': 1}]", NULL},
            {"{'a': 1}", "[{'op': 'remove', 'path': '/b'}]", NULL},
            {"{'a': 1}", "[{'op': 'remove', 'path': ''}]", NULL},
            {"{'a': 1}", "[{'op': 'replace', 'path': '', 'value': {'b': 2}}]", "{'b': 2}"},
            {"{'a': 1}", "[{'op': 'add', 'path': 'a', 'value': 1}]", NULL},
            {"{'a': 1}", "[{'op': 'add', 'path': '/b'}]", NULL},
            {"{'a': 1}", "[{'op': 'add', 'path': '/b', 'value': null}]", "{'a': 1, 'b': null}"},
            {"{'a': {'b': 1}}",
             "[{'op': 'copy', 'from': '/a', 'path': '/c'}, {'op': 'replace', 'path': '/c/b', "
             "'value': 2}]",
             "{'a': {'b': 1}, 'c': {'b': 2}}"},
            {"{'a': {'b': 1}}", "[{'op': 'move', 'from': '/a', 'path': '/a/b'}]", NULL},
            {"{'a': 1}", "[{'op': 'move', 'from': '/a', 'path': '/a'}]", "{'a': 1}"},
            {"{'a': 1}", "[{'op': 'move', 'path': '/b'}]", NULL},
            {"{'a': 1}", "[{'op': 'frob', 'path': '/a', 'value': 1}]", NULL},
            {"{'a': 1}", "[{'path': '/a', 'value': 1}]", NULL},
            {"{'a': 1}", "['x']", NULL},
            {"{'a': 1}", "{'op': 'remove', 'path': '/a'}", NULL},
            {"{'a': 1}", "[]", "{'a': 1}"},
        };

        (void)state;
        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++) {
                json_t *o = json_of("%s", cases[i][0]), *p = json_of("%s", cases[i][1]);
                json_t *before = json_deep_copy(o), *before_patch = json_deep_copy(p);
                char error[API_ERROR_SIZE] = "";
                json_t *result = api_patch_json(o, p, error);

                assert_true(json_equal(o, before));
                assert_true(json_equal(p, before_patch));
                if (cases[i][2])
                        assert_same(result, cases[i][2], cases[i][1]);
                else if (result || !error[0])
                        fail_msg("%s was accepted", cases[i][1]);
                json_decref(before);
                json_decref(before_patch);
                json_decref(o);
                json_decref(p);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_strategic),  cmocka_unit_test(test_strategic_errors),
            cmocka_unit_test(test_bounds),     cmocka_unit_test(test_merge),
            cmocka_unit_test(test_json_patch),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
