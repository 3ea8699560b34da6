// The one shape of a failure, as the socket API has it.

export class RepodError extends Error {
  constructor({ code, message, hint, details }, options) {
    super(message, options);
    this.name = "RepodError";
    this.code = code;
    this.hint = hint;
    this.details = details ?? {};
  }

  /** The error in `{"error": {...}}`; undefined where there is none. */
  static from(body) {
    const error = body?.error;
    return typeof error?.code === "string" ? new RepodError(error) : undefined;
  }
}
