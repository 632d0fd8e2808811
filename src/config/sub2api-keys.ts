/**
 * Keys of a Sub2API configuration file (its deploy/config.example.yaml of 2026) that have no meaning here, or none yet:
 * a warning instead of an error, so that an existing file starts. Whole sections, and keys inside sections that we share.
 */
const SECTIONS = words(`
  api_key_auth_cache batch_image concurrency dashboard_aggregation dashboard_cache dingtalk_connect gemini
  github_oauth google_oauth idempotency image_storage jwt linuxdo_connect oidc_connect ops plugins pricing rate_limit
  subscription_cache subscription_maintenance timezone token_refresh totp turnstile update upload usage_cleanup
  webauthn wechat_connect
`)

const INSIDE_SHARED_SECTIONS = words(`
  database.max_open_conns database.max_idle_conns database.conn_max_lifetime_minutes
  database.conn_max_idle_time_minutes server.enable_server_timing server.frontend_url server.read_header_timeout server.max_header_bytes
  server.idle_timeout server.h2c cors.allow_credentials security.trust_forwarded_ip_for_api_key_acl
  security.forwarded_client_ip_headers security.url_allowlist.pricing_hosts security.url_allowlist.crs_hosts
  security.csp security.proxy_probe security.proxy_fallback log.service_name log.env log.caller log.stacktrace_level
  log.output log.rotation log.sampling default.admin_email default.admin_password billing.minimum_balance_reserve
  billing.user_platform_quota_cache_ttl_seconds billing.user_platform_quota_sentinel_ttl_seconds
  redis.dial_timeout_seconds redis.read_timeout_seconds redis.write_timeout_seconds redis.pool_size
  redis.min_idle_conns gateway.antigravity_fallback_cooldown_minutes gateway.client_idle_ttl_seconds gateway.cn_providers
  gateway.codex_image_generation_bridge_enabled gateway.concurrency_slot_ttl_minutes
  gateway.connection_pool_isolation gateway.disable_codex_identity_enforcement
  gateway.disable_codex_originator_normalization gateway.failover_on_400 gateway.force_codex_cli
  gateway.forced_codex_instructions_template_file gateway.gemini_debug_response_headers gateway.grok
  gateway.grok_response_header_timeout gateway.idle_conn_timeout_seconds gateway.image_concurrency
  gateway.image_nonstream_keepalive_interval gateway.image_stream_data_interval_timeout
  gateway.image_stream_keepalive_interval gateway.inject_beta_for_apikey gateway.live
  gateway.log_upstream_error_body gateway.log_upstream_error_body_max_bytes gateway.max_account_switches
  gateway.max_account_switches_gemini gateway.max_body_size gateway.max_conns_per_host gateway.max_idle_conns
  gateway.max_idle_conns_per_host gateway.max_line_size gateway.max_upstream_clients
  gateway.models_list_cache_ttl_seconds gateway.models_list_read_max_bytes gateway.openai_compact_model
  gateway.openai_first_output_timeout_seconds gateway.openai_high_effort_first_output_timeout_seconds
  gateway.openai_http2 gateway.openai_passthrough_allow_timeout_headers gateway.openai_proxy_stream_circuit
  gateway.openai_response_header_timeout gateway.openai_scheduler gateway.openai_ws
  gateway.proxy_probe_response_read_max_bytes gateway.response_header_timeout gateway.scheduling
  gateway.session_idle_timeout_minutes gateway.stream_data_interval_timeout gateway.stream_keepalive_interval
  gateway.text_max_body_size gateway.tls_fingerprint gateway.upstream_response_read_max_bytes gateway.usage_record
  gateway.user_group_rate_cache_ttl_seconds gateway.user_message_queue
`)

/** True for a key that Sub2API knows and we do not read. */
export function isSub2apiKey(path: string): boolean {
  return SECTIONS.has(path) || INSIDE_SHARED_SECTIONS.has(path)
}

function words(text: string): Set<string> {
  return new Set(text.trim().split(/\s+/))
}
