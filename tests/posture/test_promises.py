"""Every field of the Plan is a promise: this table names the test that reads it off a live sandbox."""

import pytest

from ringfence.model.plan import Identity, Limits, Plan, WorkspacePlan
from tests.posture import test_kernel_limits, test_process, test_recorded, test_view
from tests.posture.live import Live

KEPT_BY = {
    "argv": "test_the_command_line_is_the_promised_one",
    "cwd": "test_the_working_directory_is_the_promised_one",
    "hostname": "test_the_host_name_is_the_promised_one",
    "identity": "IDENTITY",
    "mounts": "test_every_mount_is_promised_and_every_promise_is_mounted",
    "environment": "test_the_environment_is_the_promised_one",
    "namespaces": "test_each_promised_namespace_is_the_sandboxs_own",
    "seccomp": "test_seccomp_filters_every_process_inside",
    "landlock_scopes": "test_the_signal_scope_holds",
    "landlock_files": "test_a_redirected_file_cannot_be_opened_anew",
    "network": "test_the_network_is_off",
    "limits": "LIMITS",
    "workspace": "WORKSPACE",
    "watches": "test_each_watch_fires",
    # What says how the rest came to be, and is checked here.
    "version": "test_the_plan_says_what_it_is",
    "tier": "test_the_plan_says_what_it_is",
    "presets": "test_the_plan_says_what_it_is",
    "notes": "test_the_plan_says_what_it_is",
    # Runs with a network: tests/posture/test_proxy.py and the suites of egress.
    "egress": "",
    # With values and keys outside: tests/integration/test_vault.py and test_taint.py, tests/e2e/test_git_signing.py.
    "secrets": "",
    "on_taint": "",
    "signing": "",
}
IDENTITY = {
    "user": "test_the_account_has_the_promised_name_and_home",
    "uid": "test_the_command_sees_the_promised_id_and_no_other",
    "gid": "test_the_command_sees_the_promised_id_and_no_other",
    "home": "test_the_account_has_the_promised_name_and_home",
    "idmap": "test_no_process_runs_as_a_kernel_id_with_power",
    "owner_uid": "test_files_written_in_the_workspace_keep_its_owner_on_disk",
    "owner_gid": "test_files_written_in_the_workspace_keep_its_owner_on_disk",
}
LIMITS = {
    "processes": "test_the_pid_namespace_has_the_promised_size",
    "memory_bytes": "test_the_control_group_holds_the_promised_limit",
    "cpu_time_s": "test_each_resource_limit_is_the_promised_one",
    "file_size_bytes": "test_each_resource_limit_is_the_promised_one",
    "open_files": "test_each_resource_limit_is_the_promised_one",
    "tmp_bytes": "test_a_private_place_has_the_promised_size_and_mode",
    "home_bytes": "test_a_private_place_has_the_promised_size_and_mode",
    "run_bytes": "test_a_private_place_has_the_promised_size_and_mode",
    "shm_bytes": "test_a_private_place_has_the_promised_size_and_mode",
    # Seen only when they are reached: tests/integration/test_limits.py.
    "wall_time_s": "",
    "workspace_bytes": "",
}
WORKSPACE = {
    "path": "test_the_workspace_is_mounted_in_the_promised_mode",
    "mode": "test_the_workspace_is_mounted_in_the_promised_mode",
    "deny_write": "test_covers_of_absent_names_are_not_listed",
    # What happens after the run or needs a second repository: the suites of the workspace.
    "apply": "",
    "repositories": "",
}


def test_the_plan_says_what_it_is(box: Live) -> None:
    plan = box.plan
    assert (plan.version, plan.tier) == (1, "process")
    assert plan.presets == ("python", "node", "rust", "go", "java", "ruby")
    # Here is every mechanism that may be missing; what is live on the host is said in any case.
    assert [note for note in plan.notes if "is live" not in note] == []
    assert any(str(box.place.workspace) in note for note in plan.notes) == (plan.workspace.mode == "direct")


@pytest.mark.parametrize(
    ("struct", "table"), [(Plan, KEPT_BY), (Identity, IDENTITY), (Limits, LIMITS), (WorkspacePlan, WORKSPACE)]
)
def test_every_field_has_a_test(struct: type[Plan], table: dict[str, str]) -> None:
    tests = {**vars(test_process), **vars(test_kernel_limits), **vars(test_view), **vars(test_recorded), **globals()}
    assert list(struct.__struct_fields__) == sorted(table, key=struct.__struct_fields__.index)
    assert [name for name in table.values() if name and name not in tests] == []
