"""Apache's keys that have no field in Config: accepted with a note, or refused where neglect would mislead.

A key whose feature arrives moves to ``settings.py``.
"""

from .keys import Key, Where, without_field
from .values import Boolean, Host, Text, Whole

__all__ = ["ENSEMBLES_ONLY", "NOT_YET", "NO_MEANING"]

_FILE, _PROPERTY, _BARE, _JVM = Where.FILE, Where.PROPERTY, Where.BARE, Where.JVM
_FLAG, _TEXT = Boolean(), Text()

# A single server of Apache's does not look at these either, so there is nothing to say when they stand there.
_ABOUT_ENSEMBLES = "means something only in an ensemble"
_NO_QUORUM_TLS = "TLS between members is not supported yet"

ENSEMBLES_ONLY = (
    Key("sslQuorum", _FILE, _FLAG, None, _ABOUT_ENSEMBLES, refused=_NO_QUORUM_TLS),
    Key("portUnification", _FILE, _FLAG, None, _ABOUT_ENSEMBLES, refused=_NO_QUORUM_TLS),
    *without_field(
        _FILE,
        """
        quorum.auth.enableSasl quorum.auth.serverRequireSasl quorum.auth.learnerRequireSasl
        sslQuorumReloadCertFiles
        """,
        kind=_FLAG,
        about=_ABOUT_ENSEMBLES,
    ),
    *without_field(
        _FILE,
        """
        quorum.auth.kerberos.servicePrincipal quorum.auth.learner.saslLoginContext
        quorum.auth.server.saslLoginContext quorum.cnxn.threads.size
        """,
        about=_ABOUT_ENSEMBLES,
    ),
    *without_field(
        _PROPERTY,
        """
        leader.ackLoggingFrequency testingonly.initialZxid
        test.allowDiscontinuousProposals follower.skipLearnerRequestToNextProcessor enableEagerACLCheck
        forward_learner_requests_to_commit_processor_disabled maxConcurrentSnapSyncs
        maxConcurrentDiffSyncs maxTimeToWaitForEpoch ensembleAuthName
        """,
        about=_ABOUT_ENSEMBLES,
    ),
    *without_field(
        _BARE,
        "learner.closeSocketAsync leader.closeSocketAsync learner.asyncSending",
        kind=_FLAG,
        about=_ABOUT_ENSEMBLES,
    ),
    *without_field(_JVM, "leader.nodelay follower.nodelay", kind=_FLAG, about=_ABOUT_ENSEMBLES),
)

_TLS = "has no effect yet: TLS is not served"
_SASL = "has no effect yet: there is no SASL"
_ADMIN = "has no effect yet: there is no AdminServer"
_AUDIT = "has no effect yet: there is no audit log"

_TLS_ENDINGS = """
    keyStore.location keyStore.password keyStore.passwordPath keyStore.type trustStore.location
    trustStore.password trustStore.passwordPath trustStore.type protocol enabledProtocols ciphersuites
    context.supplier.class hostnameVerification clientHostnameVerification allowReverseDnsLookup crl ocsp
    clientAuth handshakeDetectionTimeoutMillis authProvider sslProvider
"""

NOT_YET = (
    Key(
        "secureClientPort",
        _FILE,
        Whole(0, 65535),
        note="has no effect yet: TLS is not served, and nothing listens on this port",
    ),
    Key("secureClientPortAddress", _FILE, Host(), note=_TLS),
    *without_field(_PROPERTY, " ".join(f"ssl.{ending}" for ending in _TLS_ENDINGS.split()), _TLS),
    *without_field(_PROPERTY, " ".join(f"ssl.quorum.{ending}" for ending in _TLS_ENDINGS.split()), _TLS),
    *without_field(_PROPERTY, "client.portUnification client.certReload fips-mode", _TLS, kind=_FLAG),
    *without_field(
        _PROPERTY,
        """
        X509AuthenticationProvider.superUser netty.server.outstandingHandshake.limit
        netty.server.earlyDropSecureConnectionHandshakes outstandingHandshake.limit
        """,
        _TLS,
    ),
    Key(
        "sessionRequireClientSASLAuth",
        _PROPERTY,
        _FLAG,
        refused="there is no SASL yet, so no client could open a session",
    ),
    Key(
        "authProvider.*",
        _PROPERTY,
        _TEXT,
        note="has no effect: the schemes are world, auth, digest and ip, and Java classes are not loaded",
    ),
    *without_field(
        _PROPERTY,
        """
        allowSaslFailedClients superUser letAnySaslUserDoX sasl.serverconfig
        SASLAuthenticationProvider.superPassword requireKerberosConfig security.auth_to_local
        server.realm kinit kerberos.minReLoginTimeMs kerberos.removeHostFromPrincipal
        kerberos.removeRealmFromPrincipal kerberos.canonicalizeHostNames
        """,
        _SASL,
    ),
    *without_field(_PROPERTY, "admin.serverPort", _ADMIN, kind=Whole(0, 65535, decoded=True)),
    *without_field(
        _PROPERTY,
        "admin.idleTimeout admin.httpVersion admin.rateLimiterIntervalInMS",
        _ADMIN,
        kind=Whole(-1, decoded=True),
    ),
    *without_field(
        _PROPERTY,
        """
        admin.enableServer admin.portUnification admin.forceHttps admin.needClientAuth
        admin.snapshot.enabled admin.restore.enabled IPAuthenticationProvider.usexforwardedfor
        """,
        _ADMIN,
        kind=_FLAG,
    ),
    *without_field(_PROPERTY, "admin.serverAddress admin.commandURL", _ADMIN),
    *without_field(_FILE, "metricsProvider.*", "has no effect yet: there is no metrics provider"),
    *without_field(_PROPERTY, "audit.enable", _AUDIT, kind=_FLAG),
    *without_field(_PROPERTY, "audit.impl.class", _AUDIT),
)

# Names with capitals are those of Apache's manual; its server reads the others.
NO_MEANING = (
    *without_field(
        _PROPERTY,
        """
        serverCnxnFactory nio.numSelectorThreads nio.numWorkerThreads nio.directBufferBytes
        nio.shutdownTimeout netty.advancedFlowControl.enabled advancedFlowControlEnabled
        intBufferStartingSizeBytes
        """,
        "has no meaning here: pyzkserver has a network layer of its own",
    ),
    *without_field(
        _PROPERTY,
        """
        commitProcessor.numWorkerThreads commitProcessor.shutdownTimeout
        commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize
        """,
        "has no meaning here: there are no stages of threads between a request and its reply",
    ),
    *without_field(
        _PROPERTY,
        """
        largeRequestMaxBytes largeRequestThreshold request_throttle_max_requests
        request_throttle_stall_time request_throttle_drop_stale request_stale_latency_check
        request_stale_connection_check request_throttler.shutdownTimeout throttled_op_wait_time
        requestThrottleLimit requestThrottleStallTime requestThrottleDropStale requestStaleLatencyCheck
        requestStaleConnectionCheck throttledOpWaitTime
        """,
        "has no meaning here: globalOutstandingLimit alone slows clients down",
    ),
    *without_field(
        _PROPERTY,
        """
        connection_throttle_tokens connection_throttle_fill_time connection_throttle_fill_count
        connection_throttle_freeze_time connection_throttle_drop_increase
        connection_throttle_drop_decrease connection_throttle_decrease_ratio
        connection_throttle_weight_enabled connection_throttle_global_session_weight
        connection_throttle_local_session_weight connection_throttle_renew_session_weight
        connectionMaxTokens connectionTokenFillTime connectionTokenFillCount connectionFreezeTime
        connectionDropIncrease connectionDropDecrease connectionDecreaseRatio
        """,
        "has no meaning here: maxCnxns and maxClientCnxns alone limit connections",
    ),
    *without_field(
        _PROPERTY,
        "maxResponseCacheSize maxGetChildrenResponseCacheSize",
        "has no meaning here: replies are not cached apart from the tree",
    ),
    *without_field(
        _PROPERTY,
        """
        watchManagerName watcherCleanThreadsNum watcherCleanThreshold watcherCleanIntervalInSeconds
        maxInProcessingDeadWatchers bitHashCacheSize
        """,
        "has no meaning here: there is one way of keeping watches",
    ),
    *without_field(
        _PROPERTY,
        """
        messageTracker.BufferSize messageTracker.Enabled pathStats.enabled pathStats.slotCapacity
        pathStats.slotDuration pathStats.maxDepth pathStats.sampleRate pathStats.initialDelay
        pathStats.delay pathStats.topPathMax
        """,
        "has no meaning here: paths and messages are not sampled",
    ),
    *without_field(
        _FILE,
        """
        jvm.pause.monitor jvm.pause.sleep.time.ms jvm.pause.warn-threshold.ms
        jvm.pause.info-threshold.ms
        """,
        "has no meaning here: there is no JVM",
    ),
    *without_field(
        _PROPERTY,
        """
        sasl.client sasl.client.username sasl.client.canonicalize.hostname sasl.clientconfig
        client.secure clientCnxnSocket disableAutoWatchReset request.timeout server.principal
        """,
        "has no meaning here: it is a setting of clients",
    ),
)
