package wire

import "time"

// RequestTime bounds what an agent does for one request. Runtimes give up after a minute or more; code 11 tells them to come
// again.
const RequestTime = 30 * time.Second
