# Starts the S3 server with the one account that the environment names.
set -eu
umask 077
cat > /tmp/s3.json <<EOF
{"identities": [{"name": "setpoint",
  "credentials": [{"accessKey": "$S3_ACCESS_KEY", "secretKey": "$S3_SECRET_KEY"}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
EOF
exec weed server -dir=/data -ip=127.0.0.1 -ip.bind=0.0.0.0 -s3 -s3.port=8333 \
    -s3.config=/tmp/s3.json -master.volumeSizeLimitMB=1024 -volume.max=50
