// The types of what index.js exports; the endpoint is docs/openapi.json's `Endpoint`.

import type { createOpencodeClient, OpencodeClient } from "@opencode-ai/sdk/client";

/** Where a backend is in its life. */
export type BackendState =
  | "stopped"
  | "starting"
  | "ready"
  | "unresponsive"
  | "stopping"
  | "hibernated"
  | "failed";

/** The process behind an endpoint. */
export interface Backend {
  pid: number;
  port: number;
  /** Absent until it has answered. */
  version?: string | null;
  /** RFC 3339 in UTC. */
  started_at: string;
}

/** Everything a client needs to talk to a repository's backend. */
export interface Endpoint {
  repo_id: string;
  /** The repository's root. */
  root: string;
  /** The worktree the given path lies in. */
  directory: string;
  branch: string | null;
  /** Base URL; null when there has never been a backend. */
  url: string | null;
  /** User name and password of basic authentication. */
  username: string;
  password?: string;
  /**
   * A URL that carries the credential itself, for clients that can't send one. In a linked worktree
   * it is bound to `directory`: that is what a request means that names none.
   */
  capability_url?: string | null;
  state: BackendState;
  /** Number of the current (or last) backend. */
  generation: number;
  backend: Backend | null;
  /** What the user should know about this backend. */
  warnings?: string[];
}

export interface EnsureOptions {
  /** Whether a backend may be started; otherwise the error `not_running`. Default true. */
  start?: boolean;
  /** How long to wait at most. */
  timeoutSeconds?: number;
  /** The environment a backend gets that has to be started. Default `process.env`. */
  env?: Record<string, string | undefined>;
  /** repod's home. Default `$REPOD_HOME`, else `~/.opencode`. */
  home?: string;
  /** The repod binary that starts a daemon. Default `$REPOD_BIN`, else `repod` on the PATH. */
  repod?: string;
  /** Ends the waiting; a start in flight goes on. */
  signal?: AbortSignal;
}

export interface ClientOptions extends EnsureOptions {
  /** Further configuration of the SDK's client. */
  client?: Omit<NonNullable<Parameters<typeof createOpencodeClient>[0]>, "baseUrl">;
}

/** What the daemon says (`path_not_found`, `start_failed`, ...), or what this package found. */
export type ErrorCode = "sdk_missing" | (string & {});

/** Every failure: a stable code, the cause, and what to do about it. */
export class RepodError extends Error {
  constructor(
    error: { code: ErrorCode; message: string; hint?: string; details?: Record<string, unknown> },
    options?: ErrorOptions,
  );
  readonly code: ErrorCode;
  readonly hint?: string;
  readonly details: Record<string, unknown>;
}

/** Ensures that the repository `repoRoot` lies in has a backend; answers with its endpoint. */
export function ensureRunning(repoRoot: string | URL, options?: EnsureOptions): Promise<Endpoint>;

/** The SDK's own client on that backend, with base URL, directory and credentials set. */
export function createClient(repoRoot: string | URL, options?: ClientOptions): Promise<OpencodeClient>;
