"""The first lines of the files of the older text-file tool, which its readers rely on."""

HTTP_REQUESTS = (
    "Controller (http)|Action (http)|http_referer (http)|http_user_agent (http)|http_request_uri (http)"
    "|remote_ip (http)|Date - Created At (http)|session_id (http)|Date - Completed At (http)|port|ID - User ID (http)"
    "|worker (http)|vizql_session (http)|user_ip (http)|Currentsheet (http)|ID - Site ID (http)"
)
LOGINS = "name|login_at|friendly_name|site_id"
USERS = (
    "id|name|login_at|friendly_name|licensing_role_id|licensing_role_name|domain_id|system_user_id|domain_name"
    "|domain_short_name|site_id"
)
VIEWS = "id|name|view_url|created_at|owner_id|owner_name|workbook_id|index|title|caption|site_id"
WORKBOOKS = (
    "id|name|workbook_url|created_at|updated_at|owner_id|project_id|size|view_count|owner_name|project_name"
    "|system_user_id|site_id|domain_id|domain_name"
)
EXTRACTS = (
    "A_WB_ID|Caption (Conn WB)|Date - Created At (Conn WB)|DB Class (Conn WB)|DB Name (Conn WB)"
    "|Has Extract (Conn WB)|ID - (Conn WB)|Keychain (Conn WB)|LUID (Conn WB)|Name (Conn WB)|ID - Owner (Conn WB)"
    "|Owner Type (Conn WB)|Password (Conn WB)|Port (Conn WB)|Server (Conn WB)|ID - Site (Conn WB)"
    "|Table Name (Conn WB)|Date - Updated At (Conn WB)|Username (Conn WB)|Date - Created At (WB DS)|ID - (WB DS)"
    "|Name (WB DS)|ID - Owner (WB DS)|Owner Name (WB DS)|ID - Project (WB DS)|Project Name (WB DS)"
    "|ID - Site (WB DS)|Size (WB DS)|ID - System User (WB DS)|Date - Updated At (WB DS)|View Count (WB DS)"
    "|Workbook URL (WB DS)|Asset Key (DS)|Connectable (DS)|Content Version (DS)|Date - Created (DS)"
    "|Data Engine Extracts (DS)|DB Class (DS)|DB Name (DS)|Description (DS)|Document Version (DS)|Embedded (DS)"
    "|Date - Extracts Incremented At (DS)|Date - Extracts Refreshed At (DS)|Date - First Published At (DS)"
    "|ID - (DS)|Incrementable Extracts (DS)|Is Hierarchical (DS)|Lock Version (DS)|LUID (DS)|Name (DS)"
    "|ID - Owner (DS)|ID - Project (DS)|Refreshable Extracts (DS)|ID - Rep Data (DS)|ID - Rep Extract Data (DS)"
    "|Repository URL (DS)|Revisions (DS)|ID - Site (DS)|Size (DS)|Sate (DS)|Table Name (DS)"
    "|Date - Updated At (DS)|Caption (Conn DS)|Date - Created At (Conn DS)|DB Class (Conn DS)|DB Name (Conn DS)"
    "|Has Extract (Conn DS)|ID - (Conn DS)|Keychain (Conn DS)|LUID (Conn DS)|Name (Conn DS)|ID - Owner (Conn DS)"
    "|Owner Type (Conn DS)|Password (Conn DS)|Port (Conn DS)|Server (Conn DS)|ID - Site (Conn DS)"
    "|Table Name (Conn DS)|Date - Updated At (Conn DS)|Username (Conn DS)|Date - Created At (Extract)"
    "|ID - Datasource (Extract)|Descriptor (Extract)|ID - (Extract)|Date - Updated At (Extract)"
    "|ID - Workbook (Extract)"
)
EXTRACTS_TO_WORKBOOKS = EXTRACTS + (
    "|F_WB_ID|Date - Created At (WB)|ID - (WB)|Name (WB)|ID - Owner (WB)|Owner Name (WB)|ID - Project (WB)"
    "|Project Name (WB)|ID - Site (WB)|Size (WB)|ID - System User (WB)|Date - Updated At (WB)|View Count (WB)"
    "|Workbook URL (WB)|Caption (Views)|Date - Created At (Views)|ID - (Views)|Index (Views)|Name (Views)"
    "|ID - Owner (Views)|Owner Name (Views)|ID - Site (Views)|Title (Views)|View URL (Views)"
    "|ID - Workbook (Views)|ID - Domain (WB Owner)|Domain Name (WB Owner)|Domain Short Name (WB Owner)"
    "|Friendly Name (WB Owner)|ID - (WB Owner)|ID - Licensing Role (WB Owner)|Licensing Role Name (WB Owner)"
    "|Date - Login At (WB Owner)|Name (WB Owner)|ID - Site (WB Owner)|ID - System User (WB Owner)"
)
USAGE = "|".join(
    [
        HTTP_REQUESTS,
        "Date - Completion (http)",
        EXTRACTS_TO_WORKBOOKS,
        *(f"{name} (http User)" for name in USERS.split("|")),
        "Distinct Count - Friendly Name (http User)",
    ]
)
HEADERS = {
    "http_requests": HTTP_REQUESTS,
    "logins": LOGINS,
    "users": USERS,
    "views": VIEWS,
    "workbooks": WORKBOOKS,
    "extracts": EXTRACTS,
    "Extracts_To_Workbooks": EXTRACTS_TO_WORKBOOKS,
    "usage": USAGE,
}
