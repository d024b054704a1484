"""Columns of the older text-file tool, by the names and in the order of its files, with their columns in the history.

A column that is never read from Tableau (passwords, keychains, ``embedded``), or that Tableau has no more, is empty.
"""

from collections.abc import Mapping

NOTHING = "NULL"

Columns = Mapping[str, str]

CONNECTION: Columns = {
    "Caption": "caption",
    "Date - Created At": "created_at",
    "DB Class": "dbclass",
    "DB Name": "dbname",
    "Has Extract": "has_extract",
    "ID -": "id",
    "Keychain": NOTHING,
    "LUID": "luid",
    "Name": "name",
    "ID - Owner": "owner_id",
    "Owner Type": "owner_type",
    "Password": NOTHING,
    "Port": "port",
    "Server": "server",
    "ID - Site": "site_id",
    "Table Name": "tablename",
    "Date - Updated At": "updated_at",
    "Username": "username",
}
WORKBOOK: Columns = {
    "Date - Created At": "created_at",
    "ID -": "id",
    "Name": "name",
    "ID - Owner": "owner_id",
    "Owner Name": "owner_name",
    "ID - Project": "project_id",
    "Project Name": "project_name",
    "ID - Site": "site_id",
    "Size": "size",
    "ID - System User": "system_user_id",
    "Date - Updated At": "updated_at",
    "View Count": "view_count",
    "Workbook URL": "repository_url",
}
# "Sate" is how the files have it.
DATASOURCE: Columns = {
    "Asset Key": NOTHING,
    "Connectable": "published",
    "Content Version": "content_version",
    "Date - Created": "created_at",
    "Data Engine Extracts": "data_engine_extracts",
    "DB Class": "db_class",
    "DB Name": "db_name",
    "Description": "description",
    "Document Version": "document_version",
    "Embedded": NOTHING,
    "Date - Extracts Incremented At": "extracts_incremented_at",
    "Date - Extracts Refreshed At": "extracts_refreshed_at",
    "Date - First Published At": "first_published_at",
    "ID -": "id",
    "Incrementable Extracts": "incrementable_extracts",
    "Is Hierarchical": "is_hierarchical",
    "Lock Version": "lock_version",
    "LUID": "luid",
    "Name": "name",
    "ID - Owner": "owner_id",
    "ID - Project": "project_id",
    "Refreshable Extracts": "refreshable_extracts",
    "ID - Rep Data": NOTHING,
    "ID - Rep Extract Data": NOTHING,
    "Repository URL": "repository_url",
    "Revisions": "revision",
    "ID - Site": "site_id",
    "Size": "size",
    "Sate": "state",
    "Table Name": "table_name",
    "Date - Updated At": "updated_at",
}
EXTRACT: Columns = {
    "Date - Created At": "created_at",
    "ID - Datasource": "datasource_id",
    "Descriptor": "descriptor",
    "ID -": "id",
    "Date - Updated At": "updated_at",
    "ID - Workbook": "workbook_id",
}
VIEW: Columns = {
    "Caption": "caption",
    "Date - Created At": "created_at",
    "ID -": "id",
    "Index": '"index"',
    "Name": "name",
    "ID - Owner": "owner_id",
    "Owner Name": "owner_name",
    "ID - Site": "site_id",
    "Title": "title",
    "View URL": "view_url",
    "ID - Workbook": "workbook_id",
}
OWNER: Columns = {
    "ID - Domain": "domain_id",
    "Domain Name": "domain_name",
    "Domain Short Name": "domain_short_name",
    "Friendly Name": "friendly_name",
    "ID -": "id",
    "ID - Licensing Role": "licensing_role_id",
    "Licensing Role Name": "licensing_role_name",
    "Date - Login At": "login_at",
    "Name": "name",
    "ID - Site": "site_id",
    "ID - System User": "system_user_id",
}
USERS = (
    "id", "name", "login_at", "friendly_name", "licensing_role_id", "licensing_role_name", "domain_id",
    "system_user_id", "domain_name", "domain_short_name", "site_id",
)  # fmt: skip
VIEWS = (
    "id", "name", "view_url", "created_at", "owner_id", "owner_name", "workbook_id", "index", "title", "caption",
    "site_id",
)  # fmt: skip
WORKBOOKS = (
    "id", "name", "workbook_url", "created_at", "updated_at", "owner_id", "project_id", "size", "view_count",
    "owner_name", "project_name", "system_user_id", "site_id", "domain_id", "domain_name",
)  # fmt: skip
REQUESTS: Columns = {
    "Controller (http)": "controller",
    "Action (http)": "action",
    "http_referer (http)": "http_referer",
    "http_user_agent (http)": "http_user_agent",
    "http_request_uri (http)": "http_request_uri",
    "remote_ip (http)": "remote_ip",
    "Date - Created At (http)": "created_at",
    "session_id (http)": "session_id",
    "Date - Completed At (http)": "completed_at",
    "port": "port",
    "ID - User ID (http)": "user_id",
    "worker (http)": "worker",
    "vizql_session (http)": "vizql_session",
    "user_ip (http)": "user_ip",
    "Currentsheet (http)": "currentsheet",
    "ID - Site ID (http)": "site_id",
}
LOGINS = ("name", "login_at", "friendly_name", "site_id")
